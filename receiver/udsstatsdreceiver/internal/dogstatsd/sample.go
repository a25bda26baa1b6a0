package dogstatsd

// Type is the type of a metric.
type Type uint8

// The types of the protocol.
const (
	Counter      Type = iota + 1 // c
	Gauge                        // g
	Set                          // s
	Histogram                    // h
	Timer                        // ms
	Distribution                 // d
)

// Sample is one line that is a metric. Its slices point into the datagram, and
// Values into the parser's own memory: all are valid until the next line is parsed.
type Sample struct {
	// Name is as sent.
	Name []byte
	Type Type
	// Values are the numbers, more than one if they were packed; empty for a Set.
	// None of them is NaN or infinite.
	Values []float64
	// Member is the value of a Set.
	Member []byte
	// Rate is in (0, 1].
	Rate float64
	// Tags is the text behind #, as sent: separated by commas, empty ones and
	// pseudo-tags among them.
	Tags []byte
	// LocalData, ExternalData and Cardinality are the texts behind c:, e: and card:.
	LocalData, ExternalData, Cardinality []byte
	// Timestamp is in seconds since 1970, 0 without one.
	Timestamp int64
}
