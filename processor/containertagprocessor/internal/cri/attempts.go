package cri

const (
	// maxTries is how many listings in a row ask for what does not come: a
	// runtime that is just starting something knows it a second later.
	maxTries = 3
	// tryAgainAfter is how many listings pass after that before it is asked for
	// once more: two minutes at the default interval, three seconds in a storm
	// of events. A node of 110 containers whose details never come costs 17 calls
	// per listing on average, and one that has recovered is known completely.
	tryAgainAfter = 12
)

// attempts counts how often something was asked for that did not come.
type attempts struct {
	made int // up to maxTries
	skip int // listings that do not ask
}

// due tells whether this listing asks. Of what has ended nothing new is
// expected after the first attempts.
func (a *attempts) due(ended bool) bool {
	if a.skip > 0 {
		a.skip--
		return false
	}
	if a.made >= maxTries && ended {
		return false
	}
	a.made = min(a.made+1, maxTries)
	if a.made >= maxTries {
		a.skip = tryAgainAfter
	}
	return true
}
