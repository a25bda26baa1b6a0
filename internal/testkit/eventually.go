package testkit

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// pollEvery is short against what is waited for (processes, containers,
// scrapes: 10 ms and more) and long enough to leave a small machine alone.
const pollEvery = 10 * time.Millisecond

// Eventually calls condition until it returns nil. When the timeout passes it
// fails the test with the last error.
func Eventually(t testing.TB, timeout time.Duration, condition func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := Poll(ctx, condition); err != nil {
		t.Fatalf("not within %v: %v", timeout, err)
	}
}

// Poll calls condition until it returns nil or ctx ends; then it returns the
// last error of condition together with that of ctx. The condition is called
// at least once.
func Poll(ctx context.Context, condition func() error) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		err := condition()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", err, ctx.Err())
		case <-ticker.C:
		}
	}
}
