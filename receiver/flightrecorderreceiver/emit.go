package flightrecorderreceiver

import (
	"context"
	"errors"

	"go.opentelemetry.io/collector/pdata/plog"
)

// waiting is how many records may wait for a slow pipeline. Captures are minutes
// apart.
const waiting = 64

var errFull = errors.New("the pipeline does not take them")

// mailbox keeps records between the recorder, which does not wait, and the pipeline.
type mailbox chan plog.Logs

// put never waits.
func (l *logs) put(ld plog.Logs) {
	select {
	case l.mailbox <- ld:
	default:
		l.dropped(int64(ld.LogRecordCount()), errFull)
	}
}

// each hands on all records until ctx ends, and then those that wait.
func (l *logs) each(ctx context.Context) {
	for {
		select {
		case ld := <-l.mailbox:
			l.hand(ld)
		case <-ctx.Done():
			for len(l.mailbox) > 0 {
				l.hand(<-l.mailbox)
			}
			return
		}
	}
}

func (l *logs) hand(ld plog.Logs) {
	if err := l.next.ConsumeLogs(context.Background(), ld); err != nil {
		l.dropped(int64(ld.LogRecordCount()), err)
	}
}
