package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// senderCPU is where all senders run; the script keeps the receiver on CPU 0, so
// that they do not take each other's place.
const senderCPU = 1

// senders are processes that send together.
type senders []*sender

// sender is one of them. Its standard input takes how long to send, its output
// answers.
type sender struct {
	cmd     *exec.Cmd
	totals  totals // of one cycle
	orders  io.WriteCloser
	answers *bufio.Reader
}

// startSenders returns when all are connected. They end with close, or ctx.
func startSenders(ctx context.Context, orders []order) (senders, error) {
	var all senders
	for _, o := range orders {
		s, err := startSender(ctx, o)
		if err != nil {
			return nil, errors.Join(err, all.close())
		}
		all = append(all, s)
	}
	return all, nil
}

func startSender(ctx context.Context, o order) (*sender, error) {
	o.CPU = senderCPU
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Env = append(os.Environ(), orderVariable+"="+string(text), "GOMAXPROCS=1")
	cmd.Stderr = os.Stderr
	s := &sender{cmd: cmd, totals: o.Load.totals()}
	if s.orders, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.answers = bufio.NewReader(out)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start sender: %w", err)
	}
	if _, err := s.answer(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *sender) answer() (string, error) {
	line, err := s.answers.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("wait for sender: %w", err)
	}
	return strings.TrimSpace(line), nil
}

// send lets all of them send for some time, each at least one cycle, and returns
// what they have sent.
func (all senders) send(long time.Duration) (totals, error) {
	for _, s := range all {
		if _, err := fmt.Fprintln(s.orders, long); err != nil {
			return totals{}, fmt.Errorf("order sender: %w", err)
		}
	}
	var sent totals
	for _, s := range all {
		answer, err := s.answer()
		if err != nil {
			return sent, err
		}
		cycles, err := strconv.Atoi(answer)
		if err != nil {
			return sent, fmt.Errorf("parse answer: %w", err)
		}
		sent = sent.plus(s.totals.times(cycles))
	}
	return sent, nil
}

// close ends them and waits for that.
func (all senders) close() error {
	var errs []error
	for _, s := range all {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}

func (s *sender) close() error {
	return errors.Join(s.orders.Close(), s.cmd.Wait())
}
