package main

import "fmt"

const (
	// kinds of metrics, in turns: all that both receivers take.
	kinds = "cgmh"
	// names are shared by contexts, whose tags differ. It is a multiple of the
	// number of kinds, so that a name has one.
	names = 200
)

// load is what a sender sends in one cycle. It is also part of the order that the
// sender gets.
type load struct {
	// First is the number of the first of Contexts different contexts.
	First, Contexts int
	// Values is how often each of them comes in a cycle, with another value.
	Values int
	// PerDatagram is how many messages share a datagram.
	PerDatagram int
}

// usual is the load of the comparisons: 11,000 messages of 138 bytes with six
// tags, which fill whole datagrams of 1, 10 and 55.
func usual(perDatagram int) load {
	return load{Contexts: 1000, Values: 11, PerDatagram: perDatagram}
}

func (l load) messages() int { return l.Contexts * l.Values }

// totals are what a receiver must have added up. Gauges only have a last value:
// they are among the messages.
type totals struct {
	Messages, Counted, Observed int
}

func (t totals) times(n int) totals {
	return totals{t.Messages * n, t.Counted * n, t.Observed * n}
}

func (t totals) plus(o totals) totals {
	return totals{t.Messages + o.Messages, t.Counted + o.Counted, t.Observed + o.Observed}
}

// totals are those of one cycle.
func (l load) totals() totals {
	t := totals{Messages: l.messages()}
	for i := range l.messages() {
		context, value := l.at(i)
		switch kinds[context%len(kinds)] {
		case 'c':
			t.Counted += count(context, value)
		case 'h', 'm':
			t.Observed++
		}
	}
	return t
}

// at is which context comes at a place of the cycle, and with which of its values.
func (l load) at(i int) (context, value int) {
	return l.First + i%l.Contexts, i / l.Contexts
}

// datagrams returns a cycle as it is sent.
func (l load) datagrams() [][]byte {
	var all [][]byte
	var d []byte
	for i := range l.messages() {
		context, value := l.at(i)
		d = appendLine(d, context, value)
		if (i+1)%l.PerDatagram == 0 || i+1 == l.messages() {
			all = append(all, d)
			d = nil
		}
	}
	return all
}

func count(context, value int) int { return 1 + (context+value)%7 }

// appendLine adds one message with its end of line, in the order in which the
// official clients write.
func appendLine(b []byte, context, value int) []byte {
	b = fmt.Appendf(b, "app.http.request.m%d:", context%names)
	switch kinds[context%len(kinds)] {
	case 'c':
		b = fmt.Appendf(b, "%d|c", count(context, value))
	case 'g':
		b = fmt.Appendf(b, "%d.%d|g", (context+131*value)%1000, value%10)
	case 'm':
		b = fmt.Appendf(b, "%d|ms", 1+(7*context+131*value)%3000)
	case 'h':
		b = fmt.Appendf(b, "%d.%02d|h", 1+(context+97*value)%900, value%100)
	}
	return fmt.Appendf(b, "|#env:production,service:checkout-web,version:2.14.%d,endpoint:/api/v1/items/%d,status:20%d,pod_name:web-7d9f-%d\n",
		context%50, context, context%5, context%50)
}
