package udsstatsdreceiver

import (
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/dogstatsd"
)

// clientNames begin the counters by which clients tell of themselves. They are
// handed on like all others; of their losses nothing else can know: a client
// that finds the queue full, or its own, drops without a word to us.
var clientNames = []byte("datadog.dogstatsd.client.")

// clientLosses are the reasons why a client has dropped, by the rest of the name.
// packets_dropped is the sum of the two packet counters.
var clientLosses = map[string]string{
	"metric_dropped_on_receive": "receive",
	"packets_dropped_queue":     "queue",
	"packets_dropped_writer":    "writer",
}

// told notes what a client says it has dropped. No client drops more than that
// between two reports, 10 s apart; a larger number is made up.
func (t *tally) told(s *dogstatsd.Sample) {
	const most = 1 << 40
	reason, ok := clientLosses[string(s.Name[len(clientNames):])]
	if !ok || s.Type != dogstatsd.Counter {
		return
	}
	n := 0.0
	for _, v := range s.Values {
		n += v / s.Rate
	}
	if n >= 1 && n <= most {
		t.clientLost.add(reason, uint64(n))
	}
}
