package main

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const scraped = `# TYPE container_memory_usage_bytes gauge
container_memory_usage_bytes{container_id="aa",container_runtime_name="docker"} 6.7108864e+07
container_memory_usage_bytes{container_id="bb"} 4096
container_memory_usage_bytes 1
# TYPE container_cpu_time_seconds_total counter
container_cpu_time_seconds_total{container_id="aa",cpu_mode="user"} 1.5
container_cpu_time_seconds_total{container_id="aa",cpu_mode="system"} 0.25
container_cpu_time_seconds_total{container_id="gone",cpu_mode="system"} 9
# TYPE container_cpu_throttling_time_seconds_total counter
container_cpu_throttling_time_seconds_total{container_id="bb"} 3
# TYPE container_disk_io_bytes_total counter
container_disk_io_bytes_total{container_id="bb",disk_io_direction="write",system_device="sda"} 1000
container_disk_io_bytes_total{container_id="bb",disk_io_direction="write",system_device="sdb"} 24
container_disk_io_bytes_total{container_id="bb",disk_io_direction="read",system_device="sda"} 7
`

func TestParsePage(t *testing.T) {
	got, err := parsePage(strings.NewReader(scraped))
	require.NoError(t, err)
	want := page{
		"aa": {memory: 64 * mib, cpu: 1.75},
		"bb": {memory: 4096, throttled: 3, written: 1024, read: 7},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(figures{})); diff != "" {
		t.Errorf("page (-want +got):\n%s", diff)
	}
	_, err = parsePage(strings.NewReader("container_memory_usage_bytes{"))
	require.Error(t, err)
	_, err = parsePage(strings.NewReader("#TYPE a gauge\n {}"))
	require.ErrorIs(t, err, errNameless)
}

// A page that parses lists only containers that the text mentions.
func FuzzParsePage(f *testing.F) {
	f.Add(scraped)
	f.Add("container_memory_usage_bytes{container_id=\"x\"} NaN\n")
	f.Add("#TYPE a gauge\n{}")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parsePage(strings.NewReader(text))
		if err != nil {
			return
		}
		for id := range got {
			// An id with an escape is written otherwise than it reads.
			if !strings.ContainsAny(text, `\`) && !strings.Contains(text, id) {
				t.Errorf("id %q is not in %q", id, text)
			}
		}
	})
}

func TestCompareRejectsEachImplausibleFigure(t *testing.T) {
	containers := []*testkit.Container{{ID: "m", Name: memory}, {ID: "c", Name: cpu}, {ID: "d", Name: disk}, {ID: "w", Name: web}}
	good := func() page {
		return page{
			"m": {memory: heldMemory + mib, cpu: 1},
			"c": {memory: 1, cpu: 1, throttled: 2},
			"d": {memory: 1, cpu: 1, written: mib},
			"w": {memory: 1, cpu: 1},
		}
	}
	before := map[string]float64{"m": 1, "c": 1, "d": 1, "w": 1}
	require.NoError(t, compare(containers, good(), before))

	f := func(id string, wrong figures) {
		t.Helper()
		now := good()
		now[id] = wrong
		if err := compare(containers, now, before); !errors.Is(err, errImplausible) {
			t.Errorf("%s with %+v: %v, want %v", id, wrong, err, errImplausible)
		}
	}
	f("m", figures{memory: mib, cpu: 1})
	f("m", figures{memory: memoryLimit + 1, cpu: 1})
	f("c", figures{memory: 1, cpu: 1})
	f("c", figures{memory: 1, cpu: 0.5, throttled: 2})
	f("d", figures{memory: 1, cpu: 1, read: mib})
	f("w", figures{cpu: 1})
	f("w", figures{memory: math.NaN(), cpu: 1})

	now := good()
	delete(now, "w")
	if err := compare(containers, now, before); !errors.Is(err, errMissing) {
		t.Errorf("without a container: %v, want %v", err, errMissing)
	}
}

func TestFlagsThatContradict(t *testing.T) {
	_, err := parseFlags([]string{"-check", "-no-agent"})
	require.ErrorContains(t, err, "-no-agent")
	t.Setenv("TALLYMAN_STATE", "")
	o, err := parseFlags(nil)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(o.state, "/") && strings.HasSuffix(o.state, "/.tallyman"), o.state)
}
