package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// noConnectionStream is what is left without BPF.
const noConnectionStream = "Connections are what is open when the agent looks, every 10 s: short ones and failed ones are missed, and how " +
	"one ended is not known."

// connections is what the checks of the receiver ebpf_conntrack have in common.
// Its own BPF programs are the receiver's and are tried when it starts. What is
// looked at here is what they need of the kernel; that BPF programs run at all,
// those of the process stream have shown.
type connections struct {
	roots    hostfs.Roots
	programs func() []Result
	types    func() (kernelTypes, error) // read once
}

// connections takes what the programs' own check has found.
func (o Options) connections(programs func() []Result) *connections {
	return &connections{
		roots: o.Roots, programs: programs,
		types: sync.OnceValues(func() (kernelTypes, error) { return readKernelTypes(typesDir) }),
	}
}

// bpfHost is what a kernel has for programs that watch connections.
type bpfHost struct {
	types   kernelTypes
	noTypes error
	// tried is one BPF program of the process stream: one that runs, if any does.
	tried Result
}

func (c *connections) bpf() bpfHost {
	types, err := c.types()
	return bpfHost{types: types, noTypes: err, tried: best(c.programs())}
}

// best is the first that passed, or else the first. There is at least one.
func best(tried []Result) Result {
	i := slices.IndexFunc(tried, func(r Result) bool { return r.Status == Pass })
	return tried[max(i, 0)]
}

func (c *connections) checkStream(context.Context) Result { return c.bpf().judgeStream() }

// judgeStream goes from what keeps connections from being told to what is well.
func (h bpfHost) judgeStream() Result {
	switch {
	case h.noTypes != nil:
		return judgeNoTypes(h.noTypes)
	case !h.types.hasState():
		return Result{
			Status: Warn, Found: "no tracepoint inet_sock_set_state for BPF", Meaning: noConnectionStream,
			Remedy: "Use Linux 5.10 or newer, built with CONFIG_DEBUG_INFO_BTF, CONFIG_BPF_EVENTS and CONFIG_INET.",
		}
	case h.tried.Status != Pass:
		return h.judgeRefused()
	case !h.types.hasAnswers():
		return Result{
			Status: Warn, Found: "every connection, without response times",
			Meaning: "How long servers take to answer is not known: the tracepoints sock_send_length and sock_recv_length are missing.",
			Remedy:  "Use Linux 6.3 or newer. Where response times are not needed, nothing.",
		}
	}
	return Result{
		Status: Pass, Found: "every connection, with response times",
		Meaning: "The kernel has the tracepoints, and lets this process run BPF programs: each TCP connection is told of when it ends.",
	}
}

func judgeNoTypes(err error) Result {
	if errors.Is(err, fs.ErrNotExist) {
		return Result{
			Status: Warn, Found: "this kernel shows no types (BTF)", Meaning: noConnectionStream,
			Remedy: "Use a kernel built with CONFIG_DEBUG_INFO_BTF (see kernel types above).", Error: err.Error(),
		}
	}
	r := undecided("the kernel's types (BTF) cannot be used", err)
	r.Meaning = "Without them: " + noConnectionStream
	return r
}

// judgeRefused takes over what the program's own result says.
func (h bpfHost) judgeRefused() Result {
	r := Result{
		Status: Warn, Found: "BPF programs are refused", Meaning: noConnectionStream,
		Remedy: h.tried.Remedy, Error: h.tried.Error,
	}
	if h.tried.Status == Unknown {
		r.Status, r.Found = Unknown, "BPF programs could not be tried"
	}
	return r
}

// runs tells whether the kernel tells of connections that end.
func (h bpfHost) runs() bool {
	return h.noTypes == nil && h.types.hasState() && h.tried.Status == Pass
}

// refusal is why BPF programs that look into conntrack do not run; nil if they do.
func (h bpfHost) refusal() error {
	switch {
	case h.noTypes != nil:
		return fmt.Errorf("find function %s: %w", lookupFunction, h.noTypes)
	case !h.types.hasLookup():
		return fmt.Errorf("find function %s: %w", lookupFunction, errNoLookup)
	case h.tried.Status != Pass:
		return errors.New(h.tried.Error)
	}
	return nil
}
