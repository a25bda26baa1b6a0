package load

import (
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
)

// Kind is the type of a metric, as the client's library has it.
type Kind uint8

// The kinds of metrics.
const (
	Count Kind = iota
	Gauge
	Histogram
	Distribution
	Timing
	kinds
)

// Metric is one call of the library.
type Metric struct {
	Kind Kind
	Name string
	// Tags are of one series whatever their order.
	Tags []string
	// Value of a count is a whole number, that of a timing in milliseconds.
	Value float64
}

// tagSets are those of each name. They have a tag without a value, a value with
// a colon, and letters beyond ASCII.
var tagSets = [][]string{
	nil,
	{"route:/cart", "method:get"},
	{"route:/cart", "method:put", "urgent", "zone:eu:1a", "city:Köln"},
}

// names are by kind, so that none is of two.
var names = [kinds]string{
	Count: "load.requests", Gauge: "load.level",
	Histogram: "load.balance", Distribution: "load.size", Timing: "load.took",
}

// Metrics yields n metrics of all kinds and tags. Sets are apart, see [Sets].
func Metrics(seed uint64, n int) iter.Seq[Metric] {
	return func(yield func(Metric) bool) {
		r := rand.New(rand.NewPCG(seed, 1))
		for range n {
			if !yield(metric(r)) {
				return
			}
		}
	}
}

func metric(r *rand.Rand) Metric {
	m := Metric{Kind: Kind(r.IntN(int(kinds)))}
	m.Name = names[m.Kind]
	m.Tags = slices.Clone(tagSets[r.IntN(len(tagSets))])
	if m.Kind != Gauge { // of two orders the library keeps two gauges, and sends either first
		r.Shuffle(len(m.Tags), func(i, j int) { m.Tags[i], m.Tags[j] = m.Tags[j], m.Tags[i] })
	}
	switch m.Kind {
	case Count:
		m.Value = float64(1 + r.IntN(1000))
	case Gauge:
		m.Value = 1000 * r.NormFloat64()
	case Histogram:
		m.Value = balance(r)
	case Distribution:
		m.Value = math.Exp(r.NormFloat64())
	case Timing:
		// The library writes timings with six digits after the point.
		m.Value = math.Round(1e6*math.Exp(2+r.NormFloat64())) / 1e6
	}
	return m
}

// balance is sometimes nothing and sometimes below that.
func balance(r *rand.Rand) float64 {
	v := math.Exp(3 + r.NormFloat64())
	switch r.IntN(20) {
	case 0:
		return 0
	case 1:
		return -v
	}
	return v
}

// UsersSet is the name of all sets.
const UsersSet = "load.users"

// Members of one set, some of them more than once.
type Members struct {
	Tags  []string
	Names []string
}

// Sets are one for each of the tags. What a receiver tells of a set is how many
// members it has seen in an interval, so the members of one should be sent at
// once: they fit into one datagram.
func Sets(seed uint64) []Members {
	r := rand.New(rand.NewPCG(seed, 4))
	var all []Members
	for _, tags := range tagSets {
		m := Members{Tags: tags}
		for range 60 {
			m.Names = append(m.Names, fmt.Sprintf("user-%d", int(15*r.ExpFloat64())))
		}
		all = append(all, m)
	}
	return all
}

// Event is one event. Alert and Priority are in DogStatsD's words.
type Event struct {
	Title, Text, Alert, Priority, Key, Source string
	Tags                                      []string
}

// Events are those of a seed: no two seeds have the same.
func Events(seed uint64) []Event {
	r := rand.New(rand.NewPCG(seed, 2))
	title := func(what string) string { return fmt.Sprintf("%s %016x", what, r.Uint64()) }
	return []Event{
		{Title: title("deployed"), Text: "first line\nsecond line", Alert: "info", Priority: "normal", Tags: tagSets[1]},
		{Title: title("slow | late"), Text: "", Alert: "warning", Priority: "low", Key: "slowness"},
		{Title: title("kaputt: Köln"), Text: "all of it", Alert: "error", Priority: "normal", Source: "shop", Tags: tagSets[2]},
	}
}

// Check is one service check. Status is DogStatsD's number: 0 ok, 1 warning,
// 2 critical, 3 unknown.
type Check struct {
	Name, Message string
	Status        int
	Tags          []string
}

// Checks are those of a seed. All names are different.
func Checks(seed uint64) []Check {
	r := rand.New(rand.NewPCG(seed, 3))
	var all []Check
	for status := range 4 {
		all = append(all, Check{
			Name: fmt.Sprintf("load.check.%d", status), Message: fmt.Sprintf("was %016x", r.Uint64()),
			Status: status, Tags: tagSets[r.IntN(len(tagSets))],
		})
	}
	return all
}
