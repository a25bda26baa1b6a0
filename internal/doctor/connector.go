package doctor

import (
	"context"
	"errors"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/procstream"
)

// checkConnector subscribes and leaves again.
func (o Options) checkConnector(context.Context) Result {
	connector, err := procstream.OpenConnector(procstream.ConnectorOptions{
		Roots: o.Roots, Handle: func(*procstream.Event) {},
	})
	if err == nil {
		connector.Close()
	}
	return judgeConnector(err)
}

func judgeConnector(err error) Result {
	if err == nil {
		return Result{
			Status: Pass, Found: "the kernel answered",
			Meaning: "Where BPF is refused, every process is still told of, with its exit code.",
		}
	}
	r := undecided("could not be tried", err)
	var missing *hostfs.NotSupportedError
	if errors.As(err, &missing) {
		r.Status, r.Found, r.Remedy = Warn, "refused", sentence(missing.Remedy)
		if missing.Err != nil {
			r.Error = missing.Err.Error()
		}
	}
	r.Meaning = "Matters only where BPF is refused: processes are then what /proc shows now and then, without exit codes, " +
		"and OOM victims have a name only if they were seen before."
	return r
}
