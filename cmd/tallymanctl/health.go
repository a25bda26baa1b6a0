package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const healthHelp = `Asks the agent on this host whether it works: the extension health_check, which the
default configuration has on localhost:13133. One line says what it answers. It is
what containers are looked after with:

  HEALTHCHECK CMD ["/tallymanctl", "health"]
  readinessProbe: {exec: {command: [/tallymanctl, health]}}

Exit code: 0 if the agent is ready, 1 if it is not or nobody answers in time, 2 if
the call was wrong.`

// healthWithin is far above what the agent takes to answer, and below the timeouts of
// probes that call this command (Docker: 30 s).
const healthWithin = 5 * time.Second

// healthFlags are the flags of health.
type healthFlags struct {
	address string
	timeout time.Duration
}

func newHealth() *cobra.Command {
	var f healthFlags
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Say whether the agent on this host works",
		Long:  healthHelp,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.timeout <= 0 {
				return fmt.Errorf("--timeout: %v is not more than 0", f.timeout)
			}
			if err := checkAddress(f.address); err != nil {
				return fmt.Errorf("--address: %w", err)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
			defer cancel()
			said, err := f.ask(ctx)
			if err != nil {
				return outcome{fmt.Errorf("ask for health: %w", err)}
			}
			fmt.Fprintln(cmd.OutOrStdout(), said)
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.address, "address", "http://localhost:13133", "where health_check listens: http://host:port and its path")
	flags.DurationVar(&f.timeout, "timeout", healthWithin, "how long to wait for the answer")
	return cmd
}

var (
	errNotReady = errors.New("the agent is not ready")
	errAddress  = errors.New("not http://host:port or https://host:port, with or without a path")
)

// checkAddress keeps mistakes in the call apart from agents that do not answer.
func checkAddress(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return err // has the address
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return fmt.Errorf("%q: %w", address, errAddress)
	}
	return nil
}

func (f healthFlags) ask(ctx context.Context) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.address, nil)
	if err != nil {
		return "", err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return "", err // has verb and URL
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return "", err
	}
	said := healthWords(answer)
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%w: %s: %s", errNotReady, response.Status, said)
	}
	return said, nil
}

// healthWords is an answer of health_check, such as
//
//	{"status":"Server available","upSince":"2026-11-22T03:10:00.1Z","uptime":"2m3.4s"}
//
// in words, or as it is: response_body may make it another.
func healthWords(answer []byte) string {
	var body struct {
		Status string `json:"status"`
		Uptime string `json:"uptime"`
	}
	if err := json.Unmarshal(answer, &body); err != nil || body.Status == "" {
		return oneLine(strings.TrimSpace(string(answer[:min(len(answer), 300)])))
	}
	if body.Uptime == "" {
		return oneLine(body.Status)
	}
	return oneLine(body.Status + ", up " + body.Uptime)
}
