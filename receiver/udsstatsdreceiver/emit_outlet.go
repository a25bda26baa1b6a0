package udsstatsdreceiver

import (
	"context"

	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver/receiverhelper"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/aggregate"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/origin"
)

// maxRefused is how many points wait that were refused, by the memory_limiter for
// example: 0.5 KB each, with six tags.
const maxRefused = 20_000

// outlet hands on metrics, and keeps what the next consumer has refused until the
// next flush. It is for one goroutine.
type outlet struct {
	next   consumer.Metrics
	report *receiverhelper.ObsReport
	form   form

	refused []pmetric.Metrics
	points  int // of refused
}

func newOutlet(cfg *Config, i *instance, next consumer.Metrics) outlet {
	o := outlet{next: next, report: i.report, form: form{
		version: i.set.BuildInfo.Version, temporality: pmetric.AggregationTemporalityCumulative, timerUnit: cfg.TimerUnit,
	}}
	if cfg.Temporality == temporalityDelta {
		o.form.temporality = pmetric.AggregationTemporalityDelta
	}
	return o
}

// give hands on the points of an origin. It returns how many are lost: they were
// refused for good, or too many wait.
func (o *outlet) give(from *origin.Origin, points []aggregate.Point) (lost int) {
	md := pointsOf(from, points, o.form)
	err := o.hand(md)
	switch {
	case err == nil:
		return 0
	case consumererror.IsPermanent(err) || o.points+len(points) > maxRefused:
		return len(points)
	}
	o.refused = append(o.refused, md)
	o.points += len(points)
	return 0
}

// retry hands on what was refused, in order, until something is refused again. It
// returns how many points are lost: they were refused for good this time.
func (o *outlet) retry() (lost int) {
	for len(o.refused) > 0 {
		md := o.refused[0]
		n := md.DataPointCount()
		err := o.hand(md)
		if err != nil && !consumererror.IsPermanent(err) {
			return lost
		}
		if err != nil {
			lost += n
		}
		o.refused, o.points = o.refused[1:], o.points-n
	}
	return lost
}

func (o *outlet) hand(md pmetric.Metrics) error {
	op := o.report.StartMetricsOp(context.Background())
	err := o.next.ConsumeMetrics(op, md)
	o.report.EndMetricsOp(op, format, md.DataPointCount(), err)
	return err
}
