package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const (
	// readyWithin is for a start on two cores that are all busy; alone it takes 2 s.
	readyWithin = 90 * time.Second
	// stopWithin is what the agent gets to flush and end before it is killed.
	stopWithin = 30 * time.Second
	// logTail is how much of the log goes into an error.
	logTail = 4 << 10
)

var (
	errEnded   = errors.New("the agent ended")
	errStatus  = errors.New("unexpected status")
	errStarted = errors.New("it does not say that it is ready")
)

// Options say which agent to start, and how it differs from `make run`.
type Options struct {
	Binary string   // its program
	Config string   // its configuration
	Dir    string   // for its state and its log; made
	Set    []string // more configuration: "receivers::cgroup::reader: files"
	Env    []string // "NAME=value", beyond this process's
}

// Agent is a started agent. One goroutine waits for its process; Stop waits for
// that goroutine.
type Agent struct {
	State  string // TALLYMAN_STATE
	Statsd string // the socket for DogStatsD
	Page   string // URL of the Prometheus page
	Own    string // URL of its own metrics
	Log    string // file

	health string
	cmd    *exec.Cmd
	ended  chan struct{}
}

// Start returns when the health check answers.
func Start(ctx context.Context, o Options) (*Agent, error) {
	state, err := filepath.Abs(filepath.Join(o.Dir, "state"))
	if err != nil {
		return nil, fmt.Errorf("place the agent's state: %w", err)
	}
	a := &Agent{
		State: state, Statsd: filepath.Join(state, "dsd", "dsd.socket"), Log: filepath.Join(o.Dir, "agent.log"),
		ended: make(chan struct{}),
	}
	if err := os.MkdirAll(state, 0o755); err != nil {
		return nil, fmt.Errorf("place the agent's state: %w", err)
	}
	flags, err := a.flags(o)
	if err != nil {
		return nil, err
	}
	log, err := os.Create(a.Log)
	if err != nil {
		return nil, fmt.Errorf("make the agent's log: %w", err)
	}
	defer log.Close()
	a.cmd = exec.Command(o.Binary, flags...)
	a.cmd.Env = append(os.Environ(), "TALLYMAN_STATE="+a.State, "TALLYMAN_STATSD_DIR="+filepath.Dir(a.Statsd), "GOMEMLIMIT=320MiB")
	a.cmd.Env = append(a.cmd.Env, o.Env...)
	a.cmd.Stdout, a.cmd.Stderr = log, log
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := a.launch(); err != nil {
		return nil, fmt.Errorf("start the agent: %w (make build makes it)", err)
	}
	if err := a.wait(ctx, a.healthy); err != nil {
		return nil, errors.Join(fmt.Errorf("wait for the agent: %w", err), a.Stop())
	}
	return a, nil
}

// launch starts the process on a thread of its own: the kernel sends the parent
// death signal when the thread ends that started it.
func (a *Agent) launch() error {
	started := make(chan error, 1)
	go func() {
		defer close(a.ended)
		runtime.LockOSThread()
		err := a.cmd.Start()
		started <- err
		if err == nil {
			_ = a.cmd.Wait() // the process state says it all
		}
	}()
	return <-started
}

// PID is the agent's process.
func (a *Agent) PID() int { return a.cmd.Process.Pid }

// Ended is closed when the process has ended.
func (a *Agent) Ended() <-chan struct{} { return a.ended }

// Alive returns why the agent ended, or nil while it runs.
func (a *Agent) Alive() error {
	select {
	case <-a.ended:
	default:
		return nil
	}
	text, err := os.ReadFile(a.Log)
	if err != nil {
		return errors.Join(errEnded, err)
	}
	return fmt.Errorf("%w (%v); end of %s:\n%s", errEnded, a.cmd.ProcessState, a.Log, text[max(0, len(text)-logTail):])
}

// Reload sends SIGHUP and returns when the agent runs again, with the time that
// took.
func (a *Agent) Reload(ctx context.Context) (time.Duration, error) {
	info, err := os.Stat(a.Log)
	if err != nil {
		return 0, fmt.Errorf("reload the agent: %w", err)
	}
	begun := time.Now()
	if err := a.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		return 0, errors.Join(fmt.Errorf("reload the agent: %w", err), a.Alive())
	}
	ready := func(ctx context.Context) error {
		if err := saysReady(a.Log, info.Size()); err != nil {
			return err
		}
		return a.healthy(ctx)
	}
	if err := a.wait(ctx, ready); err != nil {
		return 0, fmt.Errorf("reload the agent: %w", err)
	}
	return time.Since(begun), nil
}

// wait polls until the condition holds, and gives up when the process ends.
func (a *Agent) wait(ctx context.Context, condition func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	var ended error
	err := testkit.Poll(ctx, func() error {
		if ended = a.Alive(); ended != nil {
			return nil
		}
		return condition(ctx)
	})
	return errors.Join(err, ended)
}

func (a *Agent) healthy(ctx context.Context) error {
	_, err := Get(ctx, a.health)
	return err
}

// Stop asks the agent to end. One that does not is killed, which is an error.
func (a *Agent) Stop() error {
	_ = a.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	timer := time.NewTimer(stopWithin)
	defer timer.Stop()
	select {
	case <-a.ended:
		return nil
	case <-timer.C:
	}
	_ = a.cmd.Process.Kill()
	<-a.ended
	return fmt.Errorf("stop the agent: it had to be killed after %v", stopWithin)
}

// Get reads a page of the agent over a connection of its own: a kept one would be a
// descriptor more of the agent.
func Get(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", url, err)
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err // has verb and URL
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", url, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("get %s: %w: %s", url, errStatus, response.Status)
	}
	return body, nil
}
