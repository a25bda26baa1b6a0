package target

import "fmt"

// Confidence is how sure a recognition is. More is surer.
type Confidence uint8

// The degrees of confidence. None is the zero value: nothing was recognised.
const (
	None Confidence = iota
	// Possible: only a port speaks for it, which anybody may use.
	Possible
	// Likely: the image's name, or a launcher with a second sign.
	Likely
	// Certain: the program itself was seen running.
	Certain
)

// String returns the word that is shown to users and that rules compare with;
// "" for [None].
func (c Confidence) String() string {
	switch c {
	case None:
		return ""
	case Possible:
		return "possible"
	case Likely:
		return "likely"
	case Certain:
		return "certain"
	}
	return fmt.Sprintf("Confidence(%d)", uint8(c))
}

// Technology is what a container was recognised as.
type Technology struct {
	// Name is the value of service.technology.
	Name string
	// Port is where it serves; 0 if no port could be told.
	Port       uint16
	Confidence Confidence
	// By says in words what it was seen by.
	By string
	// Receiver is the type of the receiver that reads it, "" if there is none.
	Receiver string
}
