package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

const (
	// stopWithin is what a program gets to end by itself.
	stopWithin = 15 * time.Second
	// logTail is how much of a program's log goes into an error.
	logTail = 2 << 10
)

var errEnded = errors.New("the program ended")

// program is a started program. One goroutine waits for its process and closes
// ended; stop waits for that goroutine.
type program struct {
	cmd   *exec.Cmd
	log   string
	ended chan struct{}
}

func start(v variant, s setting, log string) (*program, error) {
	file, err := os.Create(log)
	if err != nil {
		return nil, fmt.Errorf("make log of %s: %w", v.name, err)
	}
	defer file.Close()
	argv := v.argv(s)
	p := &program{cmd: exec.Command(argv[0], argv[1:]...), log: log, ended: make(chan struct{})}
	p.cmd.Env = v.environ(s)
	p.cmd.Stdout, p.cmd.Stderr = file, file
	// Its own group: Ctrl-C is for us, and we end it before the containers.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w (scripts/bench-peers.sh builds it)", v.name, err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // the process state says it all
	}()
	return p, nil
}

func (p *program) pid() int { return p.cmd.Process.Pid }

// alive returns why the program ended, or nil while it runs.
func (p *program) alive() error {
	select {
	case <-p.ended:
	default:
		return nil
	}
	text, err := os.ReadFile(p.log)
	if err != nil {
		return errors.Join(errEnded, err)
	}
	return fmt.Errorf("%w (%v); end of %s:\n%s", errEnded, p.cmd.ProcessState, p.log, text[max(0, len(text)-logTail):])
}

// stop ends the program, by force if need be, and returns when it is gone.
func (p *program) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	timer := time.NewTimer(stopWithin)
	defer timer.Stop()
	select {
	case <-p.ended:
		return
	case <-timer.C:
	}
	_ = syscall.Kill(-p.pid(), syscall.SIGKILL) // its children too
	<-p.ended
}
