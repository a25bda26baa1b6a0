package cri

import "testing"

func TestAttempts(t *testing.T) {
	f := func(ended bool, listings, want int) {
		t.Helper()
		var a attempts
		n := 0
		for range listings {
			if a.due(ended) {
				n++
			}
		}
		if n != want {
			t.Errorf("asked in %d of %d listings, want %d (ended: %v)", n, listings, want, ended)
		}
	}
	const again = tryAgainAfter + 1
	f(false, maxTries, maxTries)
	f(false, maxTries+tryAgainAfter, maxTries)
	f(false, maxTries+again, maxTries+1)
	f(false, maxTries+10*again, maxTries+10)
	f(true, maxTries+10*again, maxTries)
}
