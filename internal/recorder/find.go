package recorder

import (
	"errors"
	"fmt"
)

var (
	errNone    = errors.New("no flight_recorder extension is configured, or it is not in service::extensions")
	errSeveral = errors.New("several flight_recorder extensions are configured: name one")
	errNotThat = errors.New("is no flight_recorder, or not in service::extensions")
)

// Find returns the component of that name, or the only one if the name is zero, that
// can do what T asks for.
func Find[T any, K comparable, C any](wanted K, all map[K]C) (found T, err error) {
	var unnamed K
	n := 0
	for id, c := range all {
		t, ok := any(c).(T)
		if !ok || wanted != unnamed && wanted != id {
			continue
		}
		found = t
		n++
	}
	switch {
	case n == 1:
		return found, nil
	case n > 1:
		var none T
		return none, errSeveral
	case wanted != unnamed:
		return found, fmt.Errorf("%v %w", wanted, errNotThat)
	}
	return found, errNone
}
