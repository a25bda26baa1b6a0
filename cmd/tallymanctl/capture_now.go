package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const captureNowHelp = `Asks the agent on this host to keep the time that has just passed, or any window
of up to 30 minutes that it still has (6 hours by default), and prints the id of
the capture. It is complete some seconds later.

  tallymanctl capture now
  tallymanctl capture now --container worker --last 20m
  tallymanctl capture now --from 03:10 --to 03:20

Times are those of this host's time zone, today or, if that is still to come,
yesterday; or dates such as "2026-11-22 03:10" and 2026-11-22T03:10:00Z.
Without containers it keeps those that something has happened to and the busiest.

The token is read from a file, or from $TALLYMAN_RECORDER_TOKEN: on a command
line everybody on the host could see it.`

// nowWithin bounds the request: a picture is taken before the agent answers.
const nowWithin = 30 * time.Second

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 1 << 20

// nowFlags are the flags of capture now.
type nowFlags struct {
	address, tokenFile, reason string
	containers                 []string
	last                       time.Duration
	from, to                   string
	host                       bool
}

func newCaptureNow() *cobra.Command {
	var f nowFlags
	cmd := &cobra.Command{
		Use:   "now",
		Short: "Keep the time that has just passed",
		Long:  captureNowHelp,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("last") && f.from != "" {
				return errSpan
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), nowWithin)
			defer cancel()
			id, err := f.ask(ctx)
			if err != nil {
				return outcome{fmt.Errorf("ask for a capture: %w", err)}
			}
			fmt.Fprintln(cmd.OutOrStdout(), oneLine(id))
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.address, "address", "http://127.0.0.1:9480", "where the recorder serves: http://host:port or unix:///path")
	flags.StringVar(&f.tokenFile, "token-file", "", "file with the recorder's token")
	flags.StringVar(&f.reason, "reason", "", "why, in your own words")
	flags.StringArrayVar(&f.containers, "container", nil, "name or id of a container; again for more")
	flags.DurationVar(&f.last, "last", 10*time.Minute, "how far back from the end")
	flags.StringVar(&f.from, "from", "", "when the window begins, such as 03:10; not with --last")
	flags.StringVar(&f.to, "to", "", "when it ends; now by default")
	flags.BoolVar(&f.host, "host", false, "all containers of the host")
	return cmd
}

// nowRequest is the body of POST /api/captures.
type nowRequest struct {
	Reason     string   `json:"reason,omitempty"`
	Containers []string `json:"containers,omitempty"`
	Scope      string   `json:"scope"`
	Last       string   `json:"last,omitempty"`
	// From and To are in seconds since 1970, to the millisecond.
	From json.Number `json:"from,omitempty"`
	To   json.Number `json:"to,omitempty"`
}

func (f nowFlags) ask(ctx context.Context) (string, error) {
	body := nowRequest{Reason: f.reason, Containers: f.containers, Scope: "default"}
	if f.host {
		body.Scope = "host"
	}
	if err := f.span(&body, time.Now()); err != nil {
		return "", err
	}
	content, err := json.Marshal(body)
	if err != nil {
		return "", err
	}
	client, base := recorderClient(f.address)
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/api/captures", bytes.NewReader(content))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/json")
	token, err := f.token()
	if err != nil {
		return "", err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return "", err
	}
	return parseAnswer(response.StatusCode, answer)
}

// errSpan is a wrong call.
var errSpan = errors.New("--last and --from exclude each other")

// span says of which time, as short as that can be said.
func (f nowFlags) span(body *nowRequest, now time.Time) error {
	if f.from == "" && f.to == "" {
		body.Last = fmt.Sprintf("%ds", int(f.last.Seconds()))
		return nil
	}
	to, err := parseMoment(f.to, now)
	if err != nil {
		return fmt.Errorf("--to: %w", err)
	}
	from := to.Add(-f.last)
	if f.from != "" {
		if from, err = parseMoment(f.from, now); err != nil {
			return fmt.Errorf("--from: %w", err)
		}
	}
	body.From, body.To = seconds(from), seconds(to)
	return nil
}

func seconds(t time.Time) json.Number {
	return json.Number(strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', -1, 64))
}

var errMoment = errors.New("no time such as 03:10, \"2026-11-22 03:10\" or 2026-11-22T03:10:00Z")

// parseMoment reads a time; nothing is now. One without a date is the last that was.
func parseMoment(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return now, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04"} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, nil
		}
	}
	for _, layout := range []string{"15:04:05", "15:04"} {
		clock, err := time.Parse(layout, text)
		if err != nil {
			continue
		}
		at := func(day int) time.Time {
			return time.Date(now.Year(), now.Month(), day, clock.Hour(), clock.Minute(), clock.Second(), 0, now.Location())
		}
		if today := at(now.Day()); !today.After(now) {
			return today, nil
		}
		return at(now.Day() - 1), nil
	}
	return time.Time{}, fmt.Errorf("%q: %w", text, errMoment)
}

func (f nowFlags) token() (string, error) {
	if f.tokenFile == "" {
		return os.Getenv("TALLYMAN_RECORDER_TOKEN"), nil
	}
	content, err := os.ReadFile(f.tokenFile)
	return strings.TrimSpace(string(content)), err
}

// recorderClient returns a client and what its URLs begin with. Requests over a
// Unix socket say localhost, which the recorder takes for its own name.
func recorderClient(address string) (*http.Client, string) {
	path, ok := strings.CutPrefix(address, "unix://")
	if !ok {
		return &http.Client{Transport: &http.Transport{}}, strings.TrimSuffix(address, "/")
	}
	var dialer net.Dialer
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", path)
		},
	}}, "http://localhost"
}

var errAnswer = errors.New("the recorder answers")

// parseAnswer takes the id out of an answer, or the error's text.
func parseAnswer(status int, answer []byte) (string, error) {
	var body struct {
		ID    string `json:"id"`
		Error string `json:"error"`
	}
	err := json.Unmarshal(answer, &body)
	if status == http.StatusAccepted && err == nil && body.ID != "" {
		return body.ID, nil
	}
	text := body.Error
	if text == "" {
		text = string(answer[:min(len(answer), 300)])
	}
	return "", fmt.Errorf("%w %d: %s", errAnswer, status, oneLine(text))
}
