package nat

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// source is a resolver that answers with the number of the call.
type source struct {
	off
	asked []Query
	err   error
}

func (s *source) Resolve(_ context.Context, _ Namespace, queries []Query, answers []Answer) error {
	for i, q := range queries {
		s.asked = append(s.asked, q)
		answers[i] = Answer{Found: q.Remote.Port() != 404, Zone: uint16(len(s.asked))}
	}
	return s.err
}

func cacheQuery(port uint16) Query {
	return Query{Pair: Pair{Local: addrPort(first4, port), Remote: addrPort(host4, published)}, Transport: TCP, Socket: 1}
}

func TestCache(t *testing.T) {
	s := &source{}
	c := NewCache(s, 4)
	f := func(q Query, want uint16) {
		t.Helper()
		require.Equal(t, want, resolveOne(t, c, Namespace{}, q).Zone)
	}
	one := cacheQuery(1)
	f(one, 1)
	f(one, 1) // remembered
	for _, change := range []func(*Query){
		func(q *Query) { q.Netns = 5 }, func(q *Query) { q.Transport = UDP }, func(q *Query) { q.Zone = 9 },
		func(q *Query) { q.Ended, q.Local = true, addrPort(first4, 9) },
	} {
		q := one
		change(&q)
		f(q, uint16(len(s.asked)+1))
	}
	f(one, 1)
	require.Equal(t, uint16(6), resolveOne(t, c, Namespace{Inode: 3}, one).Zone, "another namespace is asked")

	other := one
	other.Socket = 2 // the same tuple, later
	f(other, 7)
	f(other, 7)
	other.Ended = true
	f(other, 7) // for the last time
	other.Ended = false
	f(other, 8)

	absent := cacheQuery(2)
	absent.Remote = addrPort(host4, 404)
	f(absent, 9)
	f(absent, 10) // may be there later
	require.Equal(t, uint64(4), c.Stats().Cached)
}

func TestCacheIsBounded(t *testing.T) {
	s := &source{}
	c := NewCache(s, 100)
	busy := cacheQuery(1)
	for port := range uint16(1000) {
		resolveOne(t, c, Namespace{}, cacheQuery(port+2))
		require.Equal(t, uint16(2), resolveOne(t, c, Namespace{}, busy).Zone, "what is asked for is kept")
	}
	require.LessOrEqual(t, c.Stats().Entries, uint64(100))
	require.GreaterOrEqual(t, c.Stats().Entries, uint64(50))
}

func TestCacheKeepsNoErrors(t *testing.T) {
	s := &source{err: errors.New("no")}
	c := NewCache(s, 4)
	answers := []Answer{{Found: true}}
	require.ErrorIs(t, c.Resolve(context.Background(), Namespace{}, []Query{cacheQuery(1)}, answers), s.err)
	require.Equal(t, []Answer{{}}, answers)
	s.err = nil
	require.Equal(t, uint16(2), resolveOne(t, c, Namespace{}, cacheQuery(1)).Zone)
}
