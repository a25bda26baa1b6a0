package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"
)

const (
	sectionBegin = "<!-- bench-peers: begin -->"
	sectionEnd   = "<!-- bench-peers: end -->"
)

var errNoSection = errors.New("it has not each of the two marks once, in order")

// report is all that goes onto the page.
type report struct {
	args    []string
	window  time.Duration
	network string

	day, cpu, kernel, layout, docker, commit string
	cores                                    int
	loadBefore, loadAfter                    string
	peers                                    []string // name and version
	tables                                   []table
}

// table is about one number of containers.
type table struct {
	containers int
	idle       float64 // CPU seconds per minute of the engine when nobody asks
	rows       []row
}

// row is one variant, measured once per round.
type row struct {
	variant variant
	samples []sample
}

func (r *report) render() string {
	var b strings.Builder
	fmt.Fprintf(&b, "## Next to others\n\n")
	command := strings.Join(append([]string{"scripts/bench-peers.sh"}, r.args...), " ")
	fmt.Fprintf(&b, "`make bench-peers` on %s, commit %s: `%s`\n\n", r.day, r.commit, command)
	fmt.Fprintf(&b, "Idle Docker containers (`sleep`, network `%s`), all programs at 1 s unless the row says\n"+
		"otherwise, one after the other over the same containers; %.0f s each, nothing scrapes in\n"+
		"that time. Of several rounds the least counts, all are in brackets.\n", r.network, r.window.Seconds())
	for _, t := range r.tables {
		t.render(&b)
	}
	r.notes(&b)
	return b.String()
}

func (t table) render(b *strings.Builder) {
	fmt.Fprintf(b, "\n### %d containers\n\n", t.containers)
	references := t.references()
	titles := []string{"", "CPU s/min", "+ engine s/min"}
	for _, ref := range references {
		titles = append(titles, "x "+ref.variant.name)
	}
	titles = append(titles, "passes/min", "µs/read", "RSS, peak MB", "one scrape")
	fmt.Fprintf(b, "| %s |\n|%s\n", strings.Join(titles, " | "), strings.Repeat("---|", len(titles)))
	for _, row := range t.rows {
		fmt.Fprintf(b, "| %s |\n", strings.Join(t.cells(row, references), " | "))
	}
	fmt.Fprintf(b, "\nThe engine by itself: %.2f CPU s/min.\n", t.idle)
}

// references are the rows that all others are compared with: ours that collect
// and do nothing else.
func (t table) references() []row {
	var found []row
	for _, row := range t.rows {
		if slices.Contains([]string{"cgroup", "netns"}, row.variant.name) && len(row.samples) > 0 {
			found = append(found, row)
		}
	}
	return found
}

func (t table) cells(r row, references []row) []string {
	cells := []string{r.variant.title}
	if len(r.samples) == 0 {
		return append(cells, "not measured")
	}
	cells = append(cells, r.figures(func(s sample) float64 { return s.cpu }))
	engine := "-"
	if r.variant.engine {
		engine = r.figures(func(s sample) float64 { return s.engine - t.idle })
	}
	cells = append(cells, engine)
	for _, ref := range references {
		cells = append(cells, ratio(t.total(r), t.total(ref)))
	}
	best := r.best()
	cells = append(cells,
		fmt.Sprintf("%.0f", best.passes),
		fmt.Sprintf("%.0f", t.total(r)/best.passes/float64(t.containers)*1e6),
		fmt.Sprintf("%.0f, %.0f", best.memory.now/1e6, best.memory.peak/1e6))
	if best.scrape == nil {
		return append(cells, "-")
	}
	return append(cells, fmt.Sprintf("%.0f ms, %.2f MB", best.scrape.cpu*1e3, best.scrape.bytes/1e6))
}

// best is the round with the least CPU time: what disturbs a measurement only
// adds to it.
func (r row) best() sample {
	return slices.MinFunc(r.samples, func(a, b sample) int { return cmp.Compare(r.cost(a), r.cost(b)) })
}

// cost is the CPU time of the program and, where it counts, of the engine.
func (r row) cost(s sample) float64 {
	if r.variant.engine {
		return s.cpu + s.engine
	}
	return s.cpu
}

// total is the row's cost, without what the engine does by itself.
func (t table) total(r row) float64 {
	if r.variant.engine {
		return r.cost(r.best()) - t.idle
	}
	return r.cost(r.best())
}

// figures shows a figure of the best round, and those of all if there are more.
func (r row) figures(of func(sample) float64) string {
	text := fmt.Sprintf("**%.2f**", of(r.best()))
	if len(r.samples) == 1 {
		return text
	}
	var all []string
	for _, s := range r.samples {
		all = append(all, fmt.Sprintf("%.2f", of(s)))
	}
	return text + " (" + strings.Join(all, ", ") + ")"
}

func ratio(of, to float64) string {
	if to <= 0 {
		return "-"
	}
	if of/to < 10 {
		return fmt.Sprintf("%.1f", of/to)
	}
	return fmt.Sprintf("%.0f", of/to)
}

func (r *report) notes(b *strings.Builder) {
	fmt.Fprintf(b, "\n- CPU: user and system time of the program and its children, from /proc/PID/stat.\n"+
		"- Engine: dockerd, containerd and the shims, where the program lets them work, less what\n"+
		"  they use by themselves. cAdvisor asks dockerd about each container with each reading.\n"+
		"  Ratios are of program and engine together.\n"+
		"- Passes: how often each container was really read; cAdvisor waits one to two intervals\n"+
		"  between two, at random. A read: CPU time of program and engine per container and pass.\n"+
		"- A scrape is the mean of %d: CPU time of the program, size of the unpacked page.\n", scrapes)
	fmt.Fprintf(b, "- cAdvisor is its packages with our `main`, see test/bench/peers/cadvisor. It keeps two\n"+
		"  minutes of samples in memory, so its RSS grows for longer than the window.\n")
	fmt.Fprintf(b, "- Machine: %s, %d cores, Linux %s, %s, Docker %s; %s.\n",
		r.cpu, r.cores, r.kernel, r.layout, r.docker, strings.Join(r.peers, ", "))
	fmt.Fprintf(b, "- Load %s before and %s after. In any window, everything else on the machine used at\n"+
		"  most %.1f CPU s/min.\n", r.loadBefore, r.loadAfter, r.others())
	fmt.Fprintf(b, "\n| row | command |\n|---|---|\n")
	if len(r.tables) == 0 {
		return
	}
	for _, row := range r.tables[0].rows {
		fmt.Fprintf(b, "| %s | `%s` |\n", row.variant.title, row.variant.command())
	}
}

// others is the most that anything but program and engine used in a window.
func (r *report) others() float64 {
	most := 0.0
	for _, t := range r.tables {
		for _, row := range t.rows {
			for _, s := range row.samples {
				most = math.Max(most, s.others)
			}
		}
	}
	return most
}

// replaceSection puts the section between the marks of the page. The rest of
// the page is handwritten and stays.
func replaceSection(page, section string) error {
	text, err := os.ReadFile(page)
	if err != nil {
		return fmt.Errorf("read page: %w", err)
	}
	replaced, err := splice(text, section)
	if err != nil {
		return fmt.Errorf("write section into %s: %w", page, err)
	}
	if err := os.WriteFile(page, replaced, 0o644); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	fmt.Printf("\nWritten to %s.\n", page)
	return nil
}

func splice(page []byte, section string) ([]byte, error) {
	begin, end := bytes.Index(page, []byte(sectionBegin)), bytes.Index(page, []byte(sectionEnd))
	once := bytes.Count(page, []byte(sectionBegin)) == 1 && bytes.Count(page, []byte(sectionEnd)) == 1
	if !once || end < begin {
		return nil, errNoSection
	}
	var out bytes.Buffer
	out.Write(page[:begin+len(sectionBegin)])
	out.WriteString("\n\n" + section + "\n")
	out.Write(page[end:])
	return out.Bytes(), nil
}
