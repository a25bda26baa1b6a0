package discoveryreceiver

import (
	"cmp"
	"hash/maphash"
	"maps"
	"net"
	"slices"
	"strings"
	"time"
)

const (
	// remembered is how long what was said of a container counts as said after it
	// has gone, or after what was wrong is over: the longest pause that an engine makes
	// between two starts of one that fails is a minute (restartmanager of Docker).
	remembered = 10 * time.Minute
	// mostRemembered bounds that: two warnings for each container that is watched at
	// most. What is beyond is said each time that it comes up, as far as lines go.
	mostRemembered = 4096
)

// sayings are the warnings that were made, by container. A warning that is in them is no
// news. It belongs to the journal, which guards it.
type sayings struct {
	seed  maphash.Seed
	about map[string]*memory
	size  int
}

// memory is what was said of one container, and when that was last there.
type memory struct {
	seen  time.Time
	wrong map[complaint]*saying
}

// complaint is what one warning is about: somebody's wish, and what is wrong with it.
type complaint struct {
	rule, receiver string
	text           uint64 // a hash
}

// saying is one warning.
type saying struct {
	at time.Time // when it was said or, once it is over, when that was
	// isRefusal: the plan has said it, who says it with each verdict for as long as it
	// is so. What the runner says once is so until the receiver runs, or says something
	// else.
	isRefusal bool
	isOver    bool
	// unwritten is what nobody could read yet, because there were too many lines.
	unwritten *happening
}

func newSayings() *sayings {
	return &sayings{seed: maphash.MakeSeed(), about: map[string]*memory{}}
}

// complaint is what a failure says. Addresses do not count: a container that is started
// again and again has another one each time, and fails with the same.
func (a *sayings) complaint(h *happening) complaint {
	text := ""
	if h.err != nil {
		text = h.err.Error()
	}
	if host, _, err := net.SplitHostPort(h.endpoint); err == nil {
		text = strings.ReplaceAll(text, host, "")
	}
	return complaint{rule: h.rule, receiver: h.receiver, text: maphash.String(a.seed, text)}
}

// find returns what was said of a complaint, nil if it is news.
func (a *sayings) find(container string, c complaint, now time.Time) *saying {
	m := a.about[container]
	if m == nil {
		return nil
	}
	s := m.wrong[c]
	if s != nil && s.isForgotten(now) {
		a.drop(m, c)
		return nil
	}
	return s
}

// add remembers a complaint that is news, if there is room. The result is nil if not.
func (a *sayings) add(container string, c complaint, now time.Time) *saying {
	if a.size >= mostRemembered {
		return nil
	}
	m := a.about[container]
	if m == nil {
		m = &memory{wrong: map[complaint]*saying{}}
		a.about[container] = m
	}
	m.seen = now
	s := &saying{at: now}
	m.wrong[c] = s
	a.size++
	return s
}

// end says that what was said of a container is over where the condition has it so. It
// returns how much of that nobody could read.
func (a *sayings) end(container string, now time.Time, which func(complaint, *saying) bool) (unread int) {
	m := a.about[container]
	if m == nil {
		return 0
	}
	for c, s := range m.wrong {
		if !which(c, s) {
			continue
		}
		if !s.isOver {
			s.isOver, s.at = true, now
		}
		if s.unwritten != nil {
			s.unwritten = nil
			unread++
		}
	}
	return unread
}

// forget lets go of what is over, and of containers that have been gone for long. It
// returns how much of that nobody could read.
func (a *sayings) forget(present map[string]string, now time.Time) (unread int) {
	for id, m := range a.about {
		if _, isThere := present[id]; isThere {
			m.seen = now
		}
		isGone := now.Sub(m.seen) > remembered
		for c, s := range m.wrong {
			if !isGone && !s.isForgotten(now) {
				continue
			}
			if s.unwritten != nil {
				unread++
			}
			a.drop(m, c)
		}
		if len(m.wrong) == 0 {
			delete(a.about, id)
		}
	}
	return unread
}

func (a *sayings) drop(m *memory, c complaint) {
	delete(m.wrong, c)
	a.size--
}

// unwritten are those that nobody could read yet, the oldest first.
func (a *sayings) unwritten() []*saying {
	var all []*saying
	for m := range maps.Values(a.about) {
		for _, s := range m.wrong {
			if s.unwritten != nil {
				all = append(all, s)
			}
		}
	}
	slices.SortFunc(all, func(x, y *saying) int {
		return cmp.Or(x.at.Compare(y.at), cmp.Compare(x.unwritten.container, y.unwritten.container))
	})
	return all
}

func (s *saying) isForgotten(now time.Time) bool {
	return s.isOver && now.Sub(s.at) > remembered
}
