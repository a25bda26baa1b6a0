package machine

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The guest's init script and this file share a protocol of two kinds of lines on the serial console. Times are
// seconds since the guest booted.
//
//	TALLYMAN-VM: begin <package> <seconds>
//	TALLYMAN-VM: end <seconds> <number of packages> <package>=<exit code> ...
//
// Everything between is the verbose output of the test binary that began last. The number in the end line guards
// against a line that lost its tail.
const markPrefix = "TALLYMAN-VM: "

// Reasons for which a run does not count as passed.
var (
	ErrPanic       = errors.New("kernel panic")
	ErrNoEnd       = errors.New("no end line on the console")
	ErrMark        = errors.New("marker out of place or malformed")
	ErrTestsFailed = errors.New("test binary ended with an error")
	ErrNoTests     = errors.New("no test passed")
	ErrNotRun      = errors.New("test binary did not run")
)

// packageRun is what one test binary did.
type packageRun struct {
	name    string
	start   float64 // guest seconds since boot
	passed  int     // top-level tests only, as all counts here
	skipped int
	failed  []string
	code    int // exit code, known from the end line only
}

// Report is what a console told, built line by line.
type Report struct {
	runs      []packageRun
	ended     bool
	endTime   float64 // guest seconds since boot, 0 before the end line
	panicLine string  // first line of the kernel's last words
	badMark   string  // first marker that did not fit
}

// ReadConsole copies r to echo and returns what it told. A last line without its line end is echoed but not
// believed. The error is that of the reader; what was read until then is in the report.
func ReadConsole(r io.Reader, echo io.Writer) (Report, error) {
	var rep Report
	br := bufio.NewReader(r)
	for {
		line, err := br.ReadString('\n')
		_, _ = io.WriteString(echo, line)
		switch {
		case err == nil:
			rep.line(strings.TrimRight(line, "\r\n"))
		case errors.Is(err, io.EOF):
			return rep, nil
		default:
			return rep, fmt.Errorf("read console: %w", err)
		}
	}
}

// line takes one console line without its line end.
func (r *Report) line(s string) {
	if mark, ok := strings.CutPrefix(s, markPrefix); ok {
		if !r.mark(strings.Fields(mark)) && r.badMark == "" {
			r.badMark = s
		}
		return
	}
	if isPanic(s) && r.panicLine == "" {
		r.panicLine = s
	}
	if len(r.runs) > 0 {
		r.runs[len(r.runs)-1].testLine(s)
	}
}

// mark takes the words of a marker and reports whether it fits what came before.
func (r *Report) mark(words []string) bool {
	if r.ended || len(words) < 3 {
		return false
	}
	switch words[0] {
	case "begin":
		return r.begin(words[1:])
	case "end":
		return r.end(words[1:])
	}
	return false
}

func (r *Report) begin(words []string) bool {
	seconds, err := strconv.ParseFloat(words[1], 64)
	if err != nil || len(words) != 2 || r.find(words[0]) != nil {
		return false
	}
	r.runs = append(r.runs, packageRun{name: words[0], start: seconds})
	return true
}

// end accepts the end line only as a whole: as many codes as it announces, one for each package that began.
func (r *Report) end(words []string) bool {
	seconds, err := strconv.ParseFloat(words[0], 64)
	if err != nil {
		return false
	}
	n, err := strconv.Atoi(words[1])
	if err != nil || n != len(r.runs) || n != len(words)-2 {
		return false
	}
	for i, word := range words[2:] {
		name, text, _ := strings.Cut(word, "=")
		code, err := strconv.Atoi(text)
		if err != nil || name != r.runs[i].name {
			return false
		}
		r.runs[i].code = code
	}
	r.ended, r.endTime = true, seconds
	return true
}

// find returns the run of the package called name, or nil.
func (r *Report) find(name string) *packageRun {
	for i := range r.runs {
		if r.runs[i].name == name {
			return &r.runs[i]
		}
	}
	return nil
}

// testLine counts the results that a test binary prints at the left margin; subtests are indented.
func (p *packageRun) testLine(s string) {
	switch {
	case strings.HasPrefix(s, "--- PASS: "):
		p.passed++
	case strings.HasPrefix(s, "--- SKIP: "):
		p.skipped++
	case strings.HasPrefix(s, "--- FAIL: "):
		name, _, _ := strings.Cut(strings.TrimPrefix(s, "--- FAIL: "), " ")
		p.failed = append(p.failed, name)
	}
}

// isPanic recognises the kernel's own text by its time stamp, because tests may print such words, too. It may stand
// in the middle of a line: the kernel does not wait until a test has finished its own.
func isPanic(s string) bool {
	before, _, ok := strings.Cut(s, "] Kernel panic - not syncing")
	stamp := before[strings.LastIndexByte(before, '[')+1:]
	_, err := strconv.ParseFloat(strings.TrimSpace(stamp), 64)
	return ok && err == nil && len(stamp) < len(before)
}

// Verdict returns nil if all packages ran and passed, else every reason why not.
func (r *Report) Verdict(packages []string) error {
	var errs []error
	if r.panicLine != "" {
		errs = append(errs, fmt.Errorf("%w: %s", ErrPanic, r.panicLine))
	}
	if r.badMark != "" {
		errs = append(errs, fmt.Errorf("%w: %q", ErrMark, r.badMark))
	}
	if !r.ended {
		return errors.Join(append(errs, r.unfinished())...)
	}
	for _, name := range packages {
		errs = append(errs, r.packageVerdict(name))
	}
	return errors.Join(errs...)
}

// unfinished says where a console without an end line stopped.
func (r *Report) unfinished() error {
	if len(r.runs) == 0 {
		return fmt.Errorf("%w: no test binary began", ErrNoEnd)
	}
	return fmt.Errorf("%w: stopped during %s", ErrNoEnd, r.runs[len(r.runs)-1].name)
}

func (r *Report) packageVerdict(name string) error {
	p := r.find(name)
	switch {
	case p == nil:
		return fmt.Errorf("%s: %w", name, ErrNotRun)
	case p.code != 0 || len(p.failed) > 0:
		return fmt.Errorf("%s: %w: exit code %d %s", name, ErrTestsFailed, p.code, strings.Join(p.failed, " "))
	case p.passed == 0:
		return fmt.Errorf("%s: %w: %d skipped", name, ErrNoTests, p.skipped)
	}
	return nil
}
