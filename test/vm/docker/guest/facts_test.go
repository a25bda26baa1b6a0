package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const micro = 1e-6 // s

var errNoKey = errors.New("no such key")

// fact is what the kernel says about one series of a container.
type fact struct {
	value float64
	// gauge goes up and down; what is not a gauge never falls.
	gauge bool
}

type facts map[series]fact

// scope is a container's cgroup, as the systemd driver makes it.
type scope struct {
	root string // where cgroup2 is mounted
	path string // below root
}

// keyed maps a key of a file with "key value" lines to a counter on the page and the unit of the former.
type keyed struct {
	file, key string
	name      series
	unit      float64
}

// counters are the page's series that the kernel has one to one.
func counters() []keyed {
	list := []keyed{
		{"cpu.stat", "user_usec", `container_cpu_time_seconds_total{cpu_mode="user"}`, micro},
		{"cpu.stat", "system_usec", `container_cpu_time_seconds_total{cpu_mode="system"}`, micro},
		{"cpu.stat", "throttled_usec", "container_cpu_throttling_time_seconds_total", micro},
		{"cpu.stat", "nr_throttled", `container_cpu_throttling_periods_total{cpu_throttled="true"}`, 1},
		{"memory.stat", "pgmajfault", `container_paging_faults_total{system_paging_fault_type="major"}`, 1},
	}
	for _, kind := range []string{"low", "high", "max", "oom", "oom_kill", "oom_group_kill"} {
		list = append(list, keyed{"memory.events", kind, series(fmt.Sprintf("container_memory_events_total{memory_event_type=%q}", kind)), 1})
	}
	return list
}

// read returns what the kernel says now.
func (s scope) read() (facts, error) {
	f := facts{}
	err := errors.Join(f.counters(s), f.gauges(s), f.limits(s), f.pressure(s))
	if err != nil {
		return nil, fmt.Errorf("read cgroup %s: %w", s.path, err)
	}
	return f, nil
}

func (f facts) counters(s scope) error {
	for _, c := range counters() {
		value, err := s.key(c.file, c.key)
		if err != nil {
			return err
		}
		f[c.name] = fact{value: value * c.unit}
	}
	peak, err := s.number("memory.peak")
	f["container_memory_peak_bytes"] = fact{value: peak}
	return err
}

func (f facts) gauges(s scope) error {
	usage, err := s.number("memory.current")
	if err != nil {
		return err
	}
	tasks, err := s.number("pids.current")
	if err != nil {
		return err
	}
	anon, err := s.key("memory.stat", "anon")
	if err != nil {
		return err
	}
	cache, err := s.key("memory.stat", "file")
	f["container_memory_usage_bytes"] = fact{usage, true}
	f["container_pids_count"] = fact{tasks, true}
	f["container_memory_rss_bytes"] = fact{anon, true}
	f["container_memory_cache_bytes"] = fact{cache, true}
	return err
}

// limits are absent where neither the scope nor anything above it has one.
func (f facts) limits(s scope) error {
	for file, name := range map[string]series{
		"memory.max": "container_memory_limit_bytes", "pids.max": "container_pids_limit", "cpu.max": "container_cpu_limit",
	} {
		lowest, ok, err := s.lowest(file)
		if err != nil {
			return err
		}
		if ok {
			f[name] = fact{lowest, true}
		}
	}
	return nil
}

func (f facts) pressure(s scope) error {
	for _, resource := range []string{"cpu", "memory", "io"} {
		text, err := s.text(resource + ".pressure")
		if err != nil {
			return err
		}
		for line := range strings.Lines(text) { // "some avg10=0.00 avg60=0.00 avg300=0.00 total=0"
			kind, rest, _ := strings.Cut(line, " ")
			_, total, _ := strings.Cut(rest, "total=")
			value, err := parseNumber(strings.TrimSpace(total))
			if err != nil {
				return err
			}
			f[seriesOf("container_"+resource+"_pressure_seconds_total", map[string]string{"psi_type": kind})] = fact{value: value * micro}
		}
	}
	return nil
}

// text returns a control file without surrounding blanks.
func (s scope) text(file string) (string, error) {
	text, err := os.ReadFile(filepath.Join(s.root, s.path, file))
	return strings.TrimSpace(string(text)), err
}

func (s scope) number(file string) (float64, error) {
	text, err := s.text(file)
	if err != nil {
		return 0, err
	}
	return parseNumber(text)
}

// key reads one value of a file with "key value" lines.
func (s scope) key(file, key string) (float64, error) {
	text, err := s.text(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 2 && fields[0] == key {
			return parseNumber(fields[1])
		}
	}
	return 0, fmt.Errorf("read %s of %s: %w", key, file, errNoKey)
}

// lowest reads a limit of the scope and of those above it. The root cgroup has no such files.
func (s scope) lowest(file string) (lowest float64, ok bool, err error) {
	for path := s.path; path != "/"; path = filepath.Dir(path) {
		text, err := scope{s.root, path}.text(file)
		if err != nil {
			return 0, false, err
		}
		limit, is, err := parseLimit(text)
		if err != nil {
			return 0, false, err
		}
		if is && (!ok || limit < lowest) {
			lowest, ok = limit, true
		}
	}
	return lowest, ok, nil
}

// parseLimit takes "max", a number, or the "quota period" of cpu.max.
func parseLimit(text string) (limit float64, ok bool, err error) {
	fields := strings.Fields(text)
	if len(fields) == 0 || len(fields) > 2 {
		return 0, false, fmt.Errorf("parse limit %q: %w", text, errNoKey)
	}
	if fields[0] == "max" {
		return 0, false, nil
	}
	limit, err = parseNumber(fields[0])
	if err != nil || len(fields) == 1 {
		return limit, true, err
	}
	period, err := parseNumber(fields[1])
	return limit / period, true, err
}

func parseNumber(text string) (float64, error) {
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("parse control file: %w", err)
	}
	return float64(value), nil
}

// parseStart returns when a process started, in clock ticks since boot, from /proc/PID/stat: the 22nd field, of which
// the second is the name in brackets with whatever in it.
func parseStart(stat string) (ticks float64, err error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return 0, fmt.Errorf("parse /proc/PID/stat %q: %w", stat, errNoKey)
	}
	return parseNumber(fields[19])
}

func TestScopeRead(t *testing.T) {
	root := t.TempDir()
	write := func(path, file, text string) {
		t.Helper()
		require.NoError(t, os.MkdirAll(filepath.Join(root, path), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(root, path, file), []byte(text), 0o644))
	}
	for file, text := range map[string]string{"memory.max": "2000\n", "pids.max": "max\n", "cpu.max": "max 100000\n"} {
		write("system.slice", file, text)
	}
	s := scope{root, "/system.slice/docker-a.scope"}
	for file, text := range map[string]string{
		"cpu.stat":      "usage_usec 5\nuser_usec 3000000\nsystem_usec 2\nnr_periods 9\nnr_throttled 4\nthrottled_usec 500000\n",
		"memory.stat":   "anon 100\nfile 200\npgmajfault 7\n",
		"memory.events": "low 0\nhigh 0\nmax 5\noom 2\noom_kill 1\noom_group_kill 0\n",
		"memory.peak":   "400\n", "memory.current": "300\n", "pids.current": "6\n",
		"memory.max": "4000\n", "pids.max": "64\n", "cpu.max": "25000 100000\n",
		"cpu.pressure":    "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n",
		"memory.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=3\n",
		"io.pressure":     "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
	} {
		write(s.path, file, text)
	}
	got, err := s.read()
	require.NoError(t, err)
	wanted := facts{
		`container_cpu_time_seconds_total{cpu_mode="user"}`:               {3, false},
		"container_cpu_throttling_time_seconds_total":                     {0.5, false},
		`container_memory_events_total{memory_event_type="oom_kill"}`:     {1, false},
		"container_memory_peak_bytes":                                     {400, false},
		"container_memory_usage_bytes":                                    {300, true},
		"container_pids_count":                                            {6, true},
		"container_memory_limit_bytes":                                    {2000, true},
		"container_pids_limit":                                            {64, true},
		"container_cpu_limit":                                             {0.25, true},
		`container_cpu_pressure_seconds_total{psi_type="some"}`:           {1, false},
		`container_paging_faults_total{system_paging_fault_type="major"}`: {7, false},
	}
	for name, want := range wanted {
		require.InDelta(t, want.value, got[name].value, rounding, name)
		require.Equal(t, want.gauge, got[name].gauge, name)
	}
	for _, file := range []string{"cpu.stat", "memory.current", "pids.max", "io.pressure"} {
		write(s.path, file, "garbage\n")
		_, err = s.read()
		require.Error(t, err, file)
	}
}

func TestParseStart(t *testing.T) {
	head := "12 (a) b) S " + strings.Repeat("1 ", 18)
	got, err := parseStart(head + "345 0 0\n")
	require.NoError(t, err)
	require.InDelta(t, 345, got, 0)
	_, err = parseStart("12 (a) S 1")
	require.ErrorIs(t, err, errNoKey)
	_, err = parseStart("")
	require.Error(t, err)
}

// A limit that parses is what the text says.
func FuzzParseLimit(f *testing.F) {
	for _, text := range []string{"max", "67108864", "25000 100000", "max 100000", "", "1 2 3", "-1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		limit, ok, err := parseLimit(text)
		fields := strings.Fields(text)
		if err != nil || !ok || len(fields) != 1 {
			return
		}
		back, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil || float64(back) != limit {
			t.Errorf("parseLimit(%q) = %v", text, limit)
		}
	})
}
