package agent

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

// readyLine is what the Collector logs at the end of each start, also of that
// which a SIGHUP makes (service v0.158.0).
const readyLine = "Everything is ready."

// saysReady looks for readyLine in what was logged from an offset on.
func saysReady(log string, offset int64) error {
	file, err := os.Open(log)
	if err != nil {
		return fmt.Errorf("read the agent's log: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.NewSectionReader(file, offset, 1<<62))
	if err != nil {
		return fmt.Errorf("read the agent's log: %w", err)
	}
	if !bytes.Contains(text, []byte(readyLine)) {
		return errStarted
	}
	return nil
}

// maxLine bounds a line of the log; stacks of panics are lines of their own.
const maxLine = 1 << 20

// Complaints counts the lines of the log at warn and above by what they say, and
// lines that are no log lines at all, such as a panic's. Digits count as equal.
func (a *Agent) Complaints() (map[string]int, error) {
	file, err := os.Open(a.Log)
	if err != nil {
		return nil, fmt.Errorf("read the agent's log: %w", err)
	}
	defer file.Close()
	return complaints(file)
}

func complaints(log io.Reader) (map[string]int, error) {
	digits := regexp.MustCompile(`[0-9]+`)
	found := map[string]int{}
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		// Time, level, place in the source, message, fields.
		fields := strings.SplitN(lines.Text(), "\t", 5)
		switch {
		case len(fields) < 4:
			found[digits.ReplaceAllString(lines.Text(), "#")]++
		case fields[1] != "info" && fields[1] != "debug":
			found[fields[1]+": "+digits.ReplaceAllString(fields[3], "#")]++
		}
	}
	if err := lines.Err(); err != nil && !errors.Is(err, bufio.ErrTooLong) {
		return found, fmt.Errorf("read the agent's log: %w", err)
	}
	return found, nil
}
