package nat

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	// askAtOnce questions are sent together. Their answers wait in the socket:
	// at 256 bytes and as much again for the kernel's own they need 32 KiB.
	askAtOnce = 64
	askBuffer = 1 << 20
	// askWithin is far longer than the kernel takes, which answers before the
	// call that sends the question returns.
	askWithin = 2 * time.Second
)

// question is a query that the kernel is asked about, one by one.
type question struct {
	index int // of the query
	tuple tuple
	found entry
	err   error // unix.ENOENT: there is none
}

// asker asks ctnetlink about single tuples. It is safe for concurrent use.
type asker struct {
	mu     sync.Mutex // one batch at a time
	socket *socket
}

func openAsker(at Namespace, own uint64) (*asker, error) {
	s, err := openSocket(at, own, askBuffer)
	if err != nil {
		return nil, err
	}
	return &asker{socket: s}, nil
}

func (a *asker) close() { a.socket.close() }

// ask fills in found and err of each question. It gives an error if they could
// not be asked at all.
func (a *asker) ask(ctx context.Context, queries []Query, questions []question) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(questions) > 0 {
		n := min(len(questions), askAtOnce)
		if err := a.askSome(ctx, queries, questions[:n]); err != nil {
			return err
		}
		questions = questions[n:]
	}
	return nil
}

func (a *asker) askSome(ctx context.Context, queries []Query, questions []question) error {
	until := time.Now().Add(askWithin)
	if t, ok := ctx.Deadline(); ok && t.Before(until) {
		until = t
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	a.socket.waitUntil(until)
	first, err := a.send(queries, questions)
	if err != nil {
		return err
	}
	for missing := len(questions); missing > 0; {
		messages, err := a.socket.read()
		if err != nil {
			return fmt.Errorf("ask conntrack: %w", err)
		}
		for i := range messages {
			// What a batch left behind that ran out of time is passed over.
			if at := messages[i].Header.Seq - first; at < uint32(len(questions)) {
				questions[at].answered(&messages[i])
				missing--
			}
		}
	}
	return nil
}

// send returns the number of the first question; they are numbered one by one.
func (a *asker) send(queries []Query, questions []question) (uint32, error) {
	messages := make([]netlink.Message, 0, len(questions))
	for i := range questions {
		m, err := requestEntry(&queries[questions[i].index], questions[i].tuple)
		if err != nil {
			return 0, err
		}
		messages = append(messages, m)
	}
	sent, err := a.socket.conn.SendMessages(messages)
	if err != nil {
		return 0, fmt.Errorf("ask conntrack: %w", err)
	}
	return sent[0].Header.Sequence, nil
}

func (q *question) answered(m *syscall.NetlinkMessage) {
	switch m.Header.Type {
	case unix.NLMSG_ERROR:
		q.err = outcome(m)
	case subsystem | kindNew:
		q.found, q.err = parseEntry(m.Data)
	default:
		q.err = fmt.Errorf("read answer of conntrack, type %#x: %w", m.Header.Type, errMalformed)
	}
}

func (q *question) isAbsent() bool { return errors.Is(q.err, unix.ENOENT) }
