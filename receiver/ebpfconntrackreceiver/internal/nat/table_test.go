package nat

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// connectionOf makes a hairpin connection from a port of the client.
func connectionOf(port uint16) entry {
	return entry{
		transport: TCP,
		original:  tuple{addrPort(first4, port), addrPort(host4, published)},
		reply:     tuple{addrPort(second4, inside), addrPort(gateway4, port)},
	}
}

// TestTable: what is sure, what is only a fallback, and what is gone.
func TestTable(t *testing.T) {
	now := time.Unix(1000, 0)
	table := newTable(2, 30*time.Second, func() time.Time { return now })
	table.endDump()
	one, two, three := connectionOf(1), connectionOf(2), connectionOf(3)
	q := Query{Transport: TCP}
	f := func(e *entry, wantFound, wantUnsure bool) {
		t.Helper()
		for _, want := range []tuple{e.original, e.reply} {
			answer, unsure := table.answer(&q, want)
			if wantFound {
				require.Equal(t, e.answer(want), answer)
			}
			require.Equal(t, wantFound, answer.Found)
			require.Equal(t, wantUnsure, unsure)
		}
	}
	f(&one, false, true)
	table.put(&one, true)
	f(&one, true, false)
	table.put(&two, false) // no event will tell of its end
	f(&two, true, false)
	now = now.Add(believeFor)
	f(&one, true, false)
	f(&two, true, true)
	table.put(&three, true)
	f(&three, false, true) // no room
	count, refused := table.level()
	require.Equal(t, [2]uint64{2, 1}, [2]uint64{uint64(count), refused})

	table.end(&one)
	f(&one, true, true)
	table.put(&three, true) // takes the place of an ended one
	f(&three, true, false)
	f(&one, false, true)

	table.distrust()
	f(&three, true, true)
	table.beginDump()
	table.put(&two, false)
	table.endDump() // three has ended, untold
	require.True(t, table.isTrusted())
	f(&two, true, false)
	f(&three, true, true)
	now = now.Add(31 * time.Second)
	f(&two, false, true) // not heard of for longer than anything is kept
	f(&three, false, true)
	table.sweep()
	count, _ = table.level()
	require.Equal(t, 1, count)
}

// TestTupleUsedAgain: the newer connection is the one that is meant, and the
// end of the older one does not touch it.
func TestTupleUsedAgain(t *testing.T) {
	table := newTable(10, time.Minute, time.Now)
	table.endDump()
	older, newer := connectionOf(1), connectionOf(1)
	newer.reply.source = addrPort(external4, 90)
	table.put(&older, true)
	table.put(&newer, true)
	table.end(&older)
	q := Query{Transport: TCP}
	answer, unsure := table.answer(&q, newer.original)
	require.Equal(t, newer.reply.pair(), answer.Real)
	require.False(t, unsure)
	answer, _ = table.answer(&q, older.reply)
	require.False(t, answer.Found)
	count, _ := table.level()
	require.Equal(t, 1, count)

	// The same one again, after its end.
	for range 5 {
		table.end(&newer)
		table.put(&newer, true)
	}
	_, unsure = table.answer(&q, newer.original)
	require.False(t, unsure)
	count, _ = table.level()
	require.Equal(t, 1, count)
}

// TestEndedAreBounded: also where the tuples of ended ones are taken again.
func TestEndedAreBounded(t *testing.T) {
	table := newTable(10, time.Hour, time.Now)
	for range 1000 {
		e := connectionOf(1)
		table.put(&e, true)
		table.end(&e)
	}
	require.LessOrEqual(t, len(table.ended), 2*table.limit+1)
}

func TestSelfConnected(t *testing.T) {
	table := newTable(10, time.Hour, time.Now)
	table.endDump()
	end := addrPort("127.0.0.1", 5)
	e := entry{transport: TCP, original: tuple{end, end}, reply: tuple{end, end}}
	table.put(&e, true)
	answer, unsure := table.answer(&Query{Transport: TCP}, e.original)
	require.Equal(t, Answer{Found: true, Origin: Original, Real: Pair{end, end}}, answer)
	require.False(t, unsure)
	table.end(&e)
	table.drop(table.ended[0])
	require.Empty(t, table.byTuple)
}
