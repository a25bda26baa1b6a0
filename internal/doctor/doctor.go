package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// Status is the outcome of a check. The texts are part of the JSON form.
type Status string

// The outcomes. Warn: the agent works, and shows less. Fail: a part of the
// agent does not work. Unknown: it could not be found out.
const (
	Pass    Status = "pass"
	Warn    Status = "warn"
	Fail    Status = "fail"
	Unknown Status = "unknown"
)

// Result is what one check found. The JSON names are stable.
type Result struct {
	// Name is the stable id, such as bpf.btf; Title is for reading.
	Name  string `json:"name"`
	Title string `json:"title"`
	// Status is never empty.
	Status Status `json:"status"`
	// Found is what is there, one line.
	Found string `json:"found"`
	// Meaning is what the agent can or cannot show because of it.
	Meaning string `json:"meaning"`
	// Remedy is what to do; empty for Pass.
	Remedy string `json:"remedy"`
	// Error is what the kernel or the engine said, as it said it; may have
	// several lines, and is empty if there was no error.
	Error string `json:"error"`
}

// Check is one thing to look at.
type Check struct {
	// Name is the stable id of its result, Title is for reading.
	Name, Title string
	// Timeout is how long Run may take; 0 is [DefaultTimeout].
	Timeout time.Duration
	// Run looks. It returns at least one result, with an empty Name and Title
	// if they are the check's; a check of several things names each of its own.
	Run func(context.Context) []Result
}

// DefaultTimeout is far above what reading some kernel files takes, also on an
// emulated machine, and bounds what may wait for ever: a hung engine or disk.
const DefaultTimeout = 5 * time.Second

// Options are where the checks look.
type Options struct {
	// Roots are the host's, as root_path of the receivers says.
	Roots hostfs.Roots
	// DockerHost is the engine's address, such as unix:///var/run/docker.sock.
	DockerHost string
	// StateDir is where the agent keeps what outlives it.
	StateDir string
	// StatsdDir is where the agent makes the socket for custom metrics.
	StatsdDir string
	// DockerRoot is Docker's data and PodsRoot the kubelet's pod logs, as this process
	// sees them; empty: where they are on a host.
	DockerRoot, PodsRoot string
}

// FromEnv returns the options that the agent's environment asks for: the
// variables that otelcol-config.yaml and Docker's own tools use.
func FromEnv(getenv func(string) string) Options {
	return Options{
		Roots:      hostfs.NewRoots(getenv("TALLYMAN_ROOT")),
		DockerHost: cmp.Or(getenv("DOCKER_HOST"), "unix:///var/run/docker.sock"),
		StateDir:   cmp.Or(getenv("TALLYMAN_STATE"), "/var/lib/tallyman"),
		StatsdDir:  cmp.Or(getenv("TALLYMAN_STATSD_DIR"), "/run/tallyman"),
		DockerRoot: getenv("TALLYMAN_DOCKER_ROOT"),
		PodsRoot:   getenv("TALLYMAN_PODS_ROOT"),
	}
}

// Report is what all checks found, in their order.
type Report struct {
	Checks  []Result `json:"checks"`
	Summary Summary  `json:"summary"`
}

// Summary counts the results.
type Summary struct {
	Pass    int `json:"pass"`
	Warn    int `json:"warn"`
	Fail    int `json:"fail"`
	Unknown int `json:"unknown"`
}

// Run runs the checks one after the other. When ctx ends, the rest is Unknown.
func Run(ctx context.Context, checks []Check) Report {
	report := Report{Checks: []Result{}}
	for _, check := range checks {
		for _, result := range check.run(ctx) {
			result.Name = cmp.Or(result.Name, check.Name)
			result.Title = cmp.Or(result.Title, check.Title)
			result.Status = cmp.Or(result.Status, Unknown)
			report.Checks = append(report.Checks, result)
			report.Summary.count(result.Status)
		}
	}
	return report
}

func (s *Summary) count(status Status) {
	switch status {
	case Pass:
		s.Pass++
	case Warn:
		s.Warn++
	case Fail:
		s.Fail++
	default:
		s.Unknown++
	}
}

var errNoResult = errors.New("the check gave no result")

// run gives up on a check that does not end in its time.
func (c Check) run(ctx context.Context) []Result {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(c.Timeout, DefaultTimeout))
	defer cancel()
	if ctx.Err() != nil {
		return one(undecided("not looked at", ctx.Err()))
	}
	done := make(chan []Result, 1) // room for the result of one that was left behind
	go func() { done <- c.guarded(ctx) }()
	select {
	case results := <-done:
		if len(results) == 0 {
			return one(undecided("nothing", errNoResult))
		}
		return results
	case <-ctx.Done():
		return one(undecided("no answer in time", ctx.Err()))
	}
}

// guarded keeps a defect of one check from taking the report of all others
// along.
func (c Check) guarded(ctx context.Context) (results []Result) {
	defer func() {
		if v := recover(); v != nil {
			results = one(Result{
				Status: Unknown, Found: "the check panicked",
				Meaning: "This is a defect of the check, not of the host.",
				Remedy:  "Report it, with the error.",
				Error:   fmt.Sprintf("panic: %v\n%s", v, debug.Stack()),
			})
		}
	}()
	return c.Run(ctx)
}

func one(r Result) []Result { return []Result{r} }

// single turns a function of one result into the Run of a check.
func single(look func(context.Context) Result) func(context.Context) []Result {
	return func(ctx context.Context) []Result { return one(look(ctx)) }
}

// undecided is the result of a check that could not find out.
func undecided(found string, err error) Result {
	return Result{
		Status: Unknown, Found: found,
		Meaning: "It could not be found out; the error says why.",
		Remedy:  "Run it again as root, in the namespaces of the host.",
		Error:   err.Error(),
	}
}
