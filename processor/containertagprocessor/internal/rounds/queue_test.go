package rounds_test

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/rounds"
)

func isDue(q *rounds.Queue) bool {
	select {
	case <-q.Due():
		return true
	default:
		return false
	}
}

func TestQueue(t *testing.T) {
	q := rounds.NewQueue()
	if q.Take() != nil || isDue(q) {
		t.Error("a new queue is not empty")
	}
	a, b := rounds.Want{ID: "a"}, rounds.Want{PodUID: "b"}
	q.Add(a)
	q.Add(b)
	q.Add(a)
	if !isDue(q) || isDue(q) {
		t.Error("three wants do not make one round due")
	}
	wants := q.Take()
	if _, hasA := wants[a]; len(wants) != 2 || !hasA || q.Take() != nil {
		t.Errorf("took %v", wants)
	}
	q.Add(rounds.Want{ID: "c"})
	isDue(q)
	q.Return(wants)
	if isDue(q) {
		t.Error("what is put back makes a round due, which would break at once")
	}
	if got := q.Take(); len(got) != 3 {
		t.Errorf("took %v", got)
	}
	q.Soon()
	if !isDue(q) || q.Take() != nil {
		t.Error("a round is due without wants")
	}
}

func TestQueueIsBounded(t *testing.T) {
	q := rounds.NewQueue()
	for i := range rounds.Max + 10 {
		q.Add(rounds.Want{ID: strconv.Itoa(i)})
	}
	wants := q.Take()
	if len(wants) != rounds.Max {
		t.Errorf("%d wants", len(wants))
	}
	q.Add(rounds.Want{ID: "another"})
	q.Return(wants)
	if n := len(q.Take()); n != rounds.Max {
		t.Errorf("%d wants after some were put back", n)
	}
}

func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if !rounds.Pause(t.Context(), time.Second) || time.Since(began) != time.Second {
			t.Errorf("ended after %v", time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if rounds.Pause(ctx, time.Hour) || time.Since(began) != 2*time.Second {
			t.Errorf("ended after %v", time.Since(began))
		}
	})
}
