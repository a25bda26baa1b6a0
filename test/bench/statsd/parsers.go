package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/statsd_exporter/pkg/line"
)

// parser is a row: what a line costs, in the round in which it cost least.
type parser struct {
	title string
	// benchmark is ours: the timing test beside the code, because nobody else may
	// import it. "" is statsd_exporter.
	benchmark string
	best      cost
	rounds    []float64 // ns
}

// cost is of one line.
type cost struct{ ns, allocations float64 }

func parsers() []*parser {
	var rows []*parser
	for _, load := range []struct{ name, title string }{
		{"hot/1", "one line again and again, alone in its packet"},
		{"hot/55", "the same, 55 in a packet"},
		{"mixed/55", "1,000 contexts, 55 lines in a packet"},
	} {
		for _, rung := range []struct{ name, title string }{
			{"parse", "parse"}, {"key", "parse and key"}, {"add", "parse, key and aggregate"},
		} {
			rows = append(rows, &parser{
				title:     "ours, " + load.title + ": " + rung.title,
				benchmark: "BenchmarkMessage/" + load.name + "/" + rung.name,
			})
		}
	}
	return append(rows, &parser{title: "statsd_exporter `pkg/line`, 1,000 contexts: parse"})
}

func compareParsers(ctx context.Context, o options) ([]*parser, error) {
	rows := parsers()
	for range o.rounds {
		for _, p := range rows {
			c, err := p.measure(ctx, o.binaries)
			if err != nil {
				return nil, err
			}
			p.add(c)
			o.note("%s: %.1f ns", p.title, c.ns)
		}
	}
	return rows, nil
}

func (p *parser) add(c cost) {
	if len(p.rounds) == 0 || c.ns < p.best.ns {
		p.best = c
	}
	p.rounds = append(p.rounds, c.ns)
}

func (p *parser) measure(ctx context.Context, dir string) (cost, error) {
	if p.benchmark == "" {
		return measureExporter()
	}
	// The parts of a name between slashes are expressions of their own.
	pattern := "^" + strings.ReplaceAll(p.benchmark, "/", "$/^") + "$"
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "aggregate.test"),
		"-test.run=^$", "-test.bench="+pattern, "-test.benchtime=300ms", "-test.cpu=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return cost{}, fmt.Errorf("run %s: %w: %s", p.benchmark, err, out)
	}
	return parseBenchmark(out, p.benchmark)
}

// parseBenchmark reads lines such as
//
//	BenchmarkMessage/hot/1/parse  17318396  21.34 ns/op  0 B/op  0 allocs/op
func parseBenchmark(out []byte, name string) (cost, error) {
	c := cost{ns: -1, allocations: -1}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || fields[0] != name {
			continue
		}
		for i := 3; i < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i-1], 64)
			if err != nil {
				return c, fmt.Errorf("parse %q: %w", lines.Text(), err)
			}
			switch fields[i] {
			case "ns/op":
				c.ns = value
			case "allocs/op":
				c.allocations = value
			}
		}
	}
	if c.ns < 0 || c.allocations < 0 {
		return c, fmt.Errorf("find %s in %q: %w", name, out, errNotYet)
	}
	return c, nil
}

// measureExporter parses the usual load, as its receiver does: strings made of
// the lines of a packet.
func measureExporter() (cost, error) {
	p := line.NewParser()
	p.EnableDogstatsdParsing()
	sampleErrors := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "errors"}, []string{"reason"})
	samples := prometheus.NewCounter(prometheus.CounterOpts{Name: "samples"})
	tagErrors := prometheus.NewCounter(prometheus.CounterOpts{Name: "tag_errors"})
	tags := prometheus.NewCounter(prometheus.CounterOpts{Name: "tags"})
	log := slog.New(slog.DiscardHandler)
	var lines []string
	for _, d := range usual(1).datagrams() {
		lines = append(lines, strings.TrimSpace(string(d)))
	}
	lines = slices.Clip(lines[:1000])
	bad := ""
	result := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			one := lines[i%len(lines)]
			if len(p.LineToEvents(one, *sampleErrors, samples, tagErrors, tags, log)) != 1 {
				bad = one
			}
		}
	})
	if bad != "" {
		return cost{}, fmt.Errorf("%w: statsd_exporter made no event of %q", errLost, bad)
	}
	n := float64(result.N)
	return cost{float64(result.T.Nanoseconds()) / n, float64(result.MemAllocs) / n}, nil
}
