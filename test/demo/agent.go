package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// shutdownWithin is what the agent gets to flush and end before it is killed.
const shutdownWithin = 15 * time.Second

var errAgentEnded = errors.New("the agent ended")

// agent is the started agent. One goroutine waits for its process and closes
// ended; stop waits for that goroutine.
type agent struct {
	cmd   *exec.Cmd
	log   string
	ended chan struct{}
}

func startAgent(o options, dockerHost string) (*agent, error) {
	if err := os.MkdirAll(o.state, 0o755); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	a := &agent{log: filepath.Join(o.state, "demo-agent.log"), ended: make(chan struct{})}
	log, err := os.Create(a.log)
	if err != nil {
		return nil, fmt.Errorf("make the agent's log: %w", err)
	}
	defer log.Close()
	a.cmd = exec.Command(o.binary, "--config", o.config)
	a.cmd.Env = append(os.Environ(), "TALLYMAN_STATE="+o.state, "TALLYMAN_DOCKER_HOST="+dockerHost)
	if os.Getenv("GOMEMLIMIT") == "" {
		a.cmd.Env = append(a.cmd.Env, "GOMEMLIMIT=320MiB") // as make run does
	}
	a.cmd.Stdout, a.cmd.Stderr = log, log
	// Its own group: Ctrl-C is for us, and we end it before the containers.
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := a.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the agent: %w (make build makes it)", err)
	}
	go func() {
		defer close(a.ended)
		_ = a.cmd.Wait() // the process state says it all
	}()
	return a, nil
}

// why explains an end that nobody asked for.
func (a *agent) why() error {
	text, err := os.ReadFile(a.log)
	if err != nil {
		return errors.Join(errAgentEnded, err)
	}
	return fmt.Errorf("%w (%v); end of %s:\n%s", errAgentEnded, a.cmd.ProcessState, a.log, text[max(0, len(text)-4096):])
}

// stop ends the agent. An agent that does not end by itself is an error.
func (a *agent) stop() error {
	_ = a.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	timer := time.NewTimer(shutdownWithin)
	defer timer.Stop()
	select {
	case <-a.ended:
		return nil
	case <-timer.C:
	}
	_ = a.cmd.Process.Kill()
	<-a.ended
	return fmt.Errorf("stop the agent: it had to be killed after %v", shutdownWithin)
}
