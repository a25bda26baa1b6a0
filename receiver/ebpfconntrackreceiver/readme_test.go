package ebpfconntrackreceiver

import (
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.uber.org/zap"
	"go.yaml.in/yaml/v3"

	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/expohist"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/internal/netns"
	"github.com/tallymanhq/tallyman/internal/procstream"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/connstream"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/edges"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/join"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/nat"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/peers"
)

const (
	ownPage  = "README.md"
	howToUse = "../../docs/connections.md"
)

func readPage(t *testing.T, path string) string {
	t.Helper()
	page, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(page)
}

// blocks are the quoted parts of a page that are in a language.
func blocks(t *testing.T, path, language string) (all []string) {
	t.Helper()
	for _, rest := range strings.Split(readPage(t, path), "```"+language+"\n")[1:] {
		text, _, ok := strings.Cut(rest, "```")
		require.True(t, ok)
		all = append(all, text)
	}
	require.NotEmpty(t, all, "%s has no %s", path, language)
	return all
}

// loadExamples returns what the receiver makes of the examples on a page, and the
// examples' parts about it.
func loadExamples(t *testing.T, path string) (configs []*Config, raw []*confmap.Conf) {
	t.Helper()
	for _, text := range blocks(t, path, "yaml") {
		decoder := yaml.NewDecoder(strings.NewReader(text))
		for {
			var example map[string]any
			err := decoder.Decode(&example)
			if err == io.EOF {
				break
			}
			require.NoError(t, err, text)
			part, err := confmap.NewFromStringMap(example).Sub("receivers::ebpf_conntrack")
			require.NoError(t, err)
			cfg := createDefaultConfig().(*Config)
			require.NoError(t, part.Unmarshal(cfg), text)
			require.NoError(t, confmap.Validate(cfg), text)
			configs, raw = append(configs, cfg), append(raw, part)
		}
	}
	return configs, raw
}

// What the pages tell to write is what the receiver takes.
func TestExamplesOnPages(t *testing.T) {
	for path, least := range map[string]int{ownPage: 2, howToUse: 4} {
		configs, _ := loadExamples(t, path)
		require.GreaterOrEqual(t, len(configs), least, path)
	}
}

// The README names every field, with its default.
func TestDefaultsInReadme(t *testing.T) {
	configs, raw := loadExamples(t, ownPage)
	require.Len(t, configs, 2)
	want := createDefaultConfig().(*Config)
	for _, cfg := range configs {
		require.Equal(t, fmt.Sprint(*want), fmt.Sprint(*cfg), "the defaults are as it says")
	}
	for _, name := range fields(reflect.TypeFor[Config](), "") {
		require.True(t, raw[1].IsSet(name), "%s is not in README.md", name)
	}
}

// The README has the least and the most of every number, and they are what Validate
// takes.
func TestBoundsInReadme(t *testing.T) {
	var numbers, bounded []string
	for _, name := range fields(reflect.TypeFor[Config](), "") {
		name = strings.ReplaceAll(name, "::", ".")
		if field(t, createDefaultConfig().(*Config), name).Kind() == reflect.Int {
			numbers = append(numbers, name)
		}
	}
	for _, row := range table(t, ownPage, "bounds") {
		name, least, most := words(row[1])[0], number(t, words(row[2])[0]), number(t, words(row[3])[0])
		bounded = append(bounded, name)
		for value, isGood := range map[int64]bool{least - 1: false, least: true, most: true, most + 1: false} {
			cfg := createDefaultConfig().(*Config)
			field(t, cfg, name).SetInt(value)
			err := confmap.Validate(cfg)
			if isGood {
				require.NoError(t, err, name)
				continue
			}
			require.ErrorContains(t, err, name+": ")
		}
	}
	require.ElementsMatch(t, append(numbers, "collection_interval"), bounded)
}

// field finds the one that has this name in a file.
func field(t *testing.T, cfg *Config, name string) reflect.Value {
	t.Helper()
	v := reflect.ValueOf(cfg).Elem()
	for part := range strings.SplitSeq(name, ".") {
		i := slices.IndexFunc(reflect.VisibleFields(v.Type()), func(f reflect.StructField) bool {
			return f.Tag.Get("mapstructure") == part
		})
		require.GreaterOrEqual(t, i, 0, name)
		v = v.Field(i)
	}
	return v
}

// number reads a number, or a time as nanoseconds.
func number(t *testing.T, text string) int64 {
	t.Helper()
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	d, err := time.ParseDuration(text)
	require.NoError(t, err)
	return int64(d)
}

func fields(of reflect.Type, prefix string) (names []string) {
	for i := range of.NumField() {
		f := of.Field(i)
		name := prefix + f.Tag.Get("mapstructure")
		if f.Type.Kind() == reflect.Struct {
			names = append(names, fields(f.Type, name+"::")...)
			continue
		}
		names = append(names, name)
	}
	return names
}

// table returns the cells of the table of a page that has a mark, without its head.
func table(t *testing.T, path, mark string) (rows [][]string) {
	t.Helper()
	_, rest, ok := strings.Cut(readPage(t, path), "<!-- "+mark+" -->\n")
	require.True(t, ok, mark)
	text, _, ok := strings.Cut(rest, "<!-- end -->")
	require.True(t, ok, mark)
	for line := range strings.Lines(text) {
		rows = append(rows, strings.Split(strings.TrimSpace(line), "|"))
	}
	require.Greater(t, len(rows), 2, mark)
	return rows[2:]
}

// words are those in back quotes.
func words(text string) (all []string) {
	for i, word := range strings.Split(text, "`") {
		if i%2 == 1 {
			all = append(all, word)
		}
	}
	return all
}

// column are the words in a column of a table; 1 is the first.
func column(t *testing.T, path, mark string, n int) (all []string) {
	t.Helper()
	for _, row := range table(t, path, mark) {
		all = append(all, words(row[n])...)
	}
	return all
}

// definitions are all that definitions.go has.
func definitions(t *testing.T) []definition {
	t.Helper()
	all := []definition{
		connectionCount, connectionActive, connectionIO, connectionRetransmits, connectionRTT, connectionDuration,
		connectionSetup, serverResponse, clientResponse, edgeConnections, edgeIO, edgeFailures, edgeRetransmits,
		conntrackCount, conntrackLimit,
	}
	require.Len(t, all, strings.Count(readPage(t, "definitions.go"), "= definition{"), "this test knows all of them")
	return all
}

// The table has every metric, with its kind and unit.
func TestMetricsInReadme(t *testing.T) {
	kinds := map[kind]string{counter: "counter", level: "updowncounter", histogram: "histogram"}
	var want, got []string
	for _, d := range definitions(t) {
		want = append(want, d.name+" "+kinds[d.kind]+" "+d.unit)
	}
	for _, row := range table(t, ownPage, "metrics") {
		got = append(got, words(row[1])[0]+" "+strings.TrimSpace(row[2])+" "+words(row[3])[0])
	}
	require.Equal(t, want, got)
}

// attributesInReadme are those of each metric, as the table has them.
func attributesInReadme(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, row := range table(t, ownPage, "metrics") {
		all[words(row[1])[0]] = slices.Sorted(slices.Values(words(row[4])))
	}
	return all
}

// The table has the attributes of each metric that are on points, and no other.
func TestAttributesInReadme(t *testing.T) {
	want := attributesInReadme(t)
	got := map[string][]string{}
	for name, keys := range emittedAttributes(t) {
		got[name] = slices.Sorted(maps.Keys(keys))
	}
	// These come from the kernel only.
	sent := regexp.MustCompile(`\.Put\w+\("([^"]+)"`).FindAllStringSubmatch(readPage(t, "responses.go"), -1)
	require.Len(t, sent, 1)
	for _, d := range []definition{serverResponse, clientResponse} {
		require.NotContains(t, got, d.name)
		got[d.name] = []string{sent[0][1]}
	}
	for name, keys := range want {
		require.ElementsMatch(t, keys, got[name], name)
	}
	require.Len(t, got, len(want))
}

// emittedAttributes are those of points of each metric, for peers of all kinds.
func emittedAttributes(t *testing.T) map[string]map[string]bool {
	t.Helper()
	h := expohist.Point{Count: 1, Sum: 1, Min: 1, Max: 1}
	counters := edges.Counters{Connections: [edges.Outcomes]uint64{1, 1, 1, 1}, Sent: 1, Received: 1, Retransmits: 1}
	s := newServer(createDefaultConfig().(*Config), zap.NewNop())
	s.pipe = &pipeline{owners: &owners{}}
	s.looks.active.Store(&map[activeKey]int64{{owner: "c"}: 1})
	s.host.known, s.host.conntrack = true, netns.Conntrack{Count: 1, Limit: 2}
	b := &batch{s: s, at: time.Now(), md: pmetric.NewMetrics(), pages: map[string]*page{}}
	report := edges.Report{Container: "c", Totals: []edges.Total{{Counters: counters, RTT: &h, Duration: &h, Setup: &h}}}
	for kind := edges.Unknown; kind <= edges.Overflow; kind++ {
		report.Edges = append(report.Edges, edges.Edge{Peer: edges.Peer{Kind: kind, ID: "x"}, Counters: counters})
	}
	b.report(&report)
	b.active()
	b.conntrack()
	all := map[string]map[string]bool{}
	for _, rm := range b.md.ResourceMetrics().All() {
		for _, m := range rm.ScopeMetrics().At(0).Metrics().All() {
			keys := map[string]bool{}
			if m.Type() == pmetric.MetricTypeSum {
				for _, p := range m.Sum().DataPoints().All() {
					addKeys(keys, p.Attributes())
				}
			} else {
				for _, p := range m.ExponentialHistogram().DataPoints().All() {
					addKeys(keys, p.Attributes())
				}
			}
			all[m.Name()] = keys
		}
	}
	return all
}

func addKeys(to map[string]bool, m pcommon.Map) {
	for key := range m.All() {
		to[key] = true
	}
}

// The tables have every name of a peer that is no container, and every outcome.
func TestWordsInReadme(t *testing.T) {
	var want []string
	for _, g := range peers.DefaultGroups() {
		want = append(want, g.Name)
	}
	for _, kind := range []edges.PeerKind{edges.Unknown, edges.Host, edges.Ambiguous, edges.Overflow} {
		_, name := peerName(edges.Peer{Kind: kind})
		want = append(want, name)
	}
	require.ElementsMatch(t, want, column(t, ownPage, "peers", 1))
	require.ElementsMatch(t, outcomeNames[:], column(t, ownPage, "outcomes", 1))
	rows := map[string]string{}
	for _, row := range table(t, ownPage, "peers") {
		rows[words(row[1])[0]] = row[2]
	}
	for _, g := range peers.DefaultGroups() {
		for _, p := range g.Prefixes {
			if p.Bits() > 0 {
				require.Contains(t, rows[g.Name], strings.TrimSuffix(p.String(), "/128"), g.Name)
			}
		}
	}
}

// The tables have every attribute of log records, and no other.
func TestEventsInReadme(t *testing.T) {
	known := map[string]bool{}
	for event, keys := range emittedEvents() {
		known[event] = true
		maps.Copy(known, keys)
		require.ElementsMatch(t, slices.Collect(maps.Keys(keys)), column(t, ownPage, event, 1), event)
	}
	// The records above have all that the code can write.
	for _, word := range regexp.MustCompile(`"([a-z_]+(?:\.[a-z_]+)+)"`).FindAllStringSubmatch(readPage(t, "emit_logs.go"), -1) {
		require.True(t, known[word[1]], "%s is in none of the records", word[1])
	}
	require.Len(t, emittedEvents(), 3)
}

// emittedEvents are the attributes of each event, of records that have all they can
// have.
func emittedEvents() map[string]map[string]bool {
	end := func(address string) netip.AddrPort { return netip.MustParseAddrPort(address) }
	r := connstream.Record{
		Local: end("10.0.0.1:40000"), Remote: end("192.0.2.1:80"), Direction: connstream.Outgoing, PID: 7,
		Started: 1, Established: 2, Ended: 3, RTT: 1, Outcome: connstream.Reset, Errno: syscall.ECONNRESET,
	}
	f := flight{
		record: r, real: nat.Pair{Local: end("192.0.2.9:40000"), Remote: end("10.0.0.2:8080")}, owner: "c",
		direction: edges.Outgoing, found: join.Found{Known: true, Owner: "s", Remote: end("10.0.0.2:8080"), Proxied: true},
		unusual: true, suppressed: 1,
	}
	back := flight{record: r, real: nat.Pair{Local: r.Local, Remote: r.Remote}, direction: edges.Incoming}
	away := back
	away.direction = edges.Outgoing
	name := func(netip.Addr) string { return "example.com" }
	d := newDiary("")
	for _, one := range []flight{f, back, away} {
		d.connection(container.Identity{ID: one.owner}, &one, name)
	}
	for _, e := range []hostview.ProcessEvent{
		{Kind: procstream.Executed, VPID: 1, Program: "/bin/true"},
		{Kind: procstream.Exited, VPID: 1, Exit: procstream.Exit{MaxRSS: 1, OOM: true, Status: 9}},
		{Kind: procstream.Exited},
		{Kind: procstream.Forked},
	} {
		d.process(&e)
	}
	all := map[string]map[string]bool{}
	for _, rl := range d.logs.ResourceLogs().All() {
		for _, record := range rl.ScopeLogs().At(0).LogRecords().All() {
			addRecord(all, record)
		}
	}
	return all
}

func addRecord(to map[string]map[string]bool, record plog.LogRecord) {
	if to[record.EventName()] == nil {
		to[record.EventName()] = map[string]bool{}
	}
	addKeys(to[record.EventName()], record.Attributes())
}

// The tables have every reason that is counted, and no other.
func TestReasonsInReadme(t *testing.T) {
	s := newServer(createDefaultConfig().(*Config), zap.NewNop())
	r, choice, err := nat.Open(nat.Options{Mode: nat.ModeOff})
	require.NoError(t, err)
	s.nat = newTranslator(r, choice)
	require.NoError(t, s.openPeers())
	s.pipe = &pipeline{owners: &owners{}, joiner: join.New[flight](join.Options{})}
	s.stream = &connstream.Stream{}
	s.processes.Store(&hostview.Subscription{})
	h := &health{s: s}
	for mark, of := range map[string]func() map[string]uint64{
		"lost": h.lost, "lookup": h.lookups, "joined": h.joined, "overflow": h.overflow, "look": h.lookErrors,
		"problem": h.natProblems,
	} {
		require.ElementsMatch(t, slices.Collect(maps.Keys(of())), column(t, ownPage, mark+" reasons", 1), mark)
	}
	require.Equal(t, strings.Count(readPage(t, "health.go"), "byReason(h."), 6, "this test knows all of them")
}

// The page names the metrics of its own that there are.
func TestOwnMetricsInReadme(t *testing.T) {
	_, list, ok := strings.Cut(readPage(t, ownPage), "\n## Own metrics\n")
	require.True(t, ok)
	list, _, ok = strings.Cut(list, "They have no record")
	require.True(t, ok)
	found := 0
	for line := range strings.Lines(readPage(t, "documentation.md")) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "### otelcol_ebpf_conntrack_"); ok {
			found++
			require.Contains(t, list, "`"+name+"`")
		}
	}
	require.Positive(t, found)
}

// Queries on the task page use metrics, labels and values that there are.
func TestQueriesOnPage(t *testing.T) {
	names, labels, values := prometheusNames(t), labelsOf(t), valuesOf(t)
	metric := regexp.MustCompile(`\b(?:container|system)_[a-z_]+\b`)
	selector := regexp.MustCompile(`(\w+)(?:=~?|!=|!~)"([^"]*)"`)
	by := regexp.MustCompile(`\bby \(([^)]*)\)`)
	for _, query := range blocks(t, howToUse, "promql") {
		for _, name := range metric.FindAllString(query, -1) {
			require.True(t, names[name] || labels[name], "%s in %s", name, query)
		}
		for _, pair := range selector.FindAllStringSubmatch(query, -1) {
			require.True(t, labels[pair[1]], "%s in %s", pair[1], query)
			for _, value := range strings.Split(pair[2], "|") {
				known := values[pair[1]]
				require.True(t, known == nil || known[value], "%q in %s", value, query)
			}
		}
		for _, list := range by.FindAllStringSubmatch(query, -1) {
			for _, label := range strings.Split(list[1], ",") {
				require.True(t, labels[strings.TrimSpace(label)], "%s in %s", label, query)
			}
		}
	}
}

// labelsOf are those of the receiver's series.
func labelsOf(t *testing.T) map[string]bool {
	t.Helper()
	// What container_tag adds, and the resource's own.
	labels := map[string]bool{
		"container_name": true, "service_name": true, "peer_container_name": true, "peer_service_name": true, "container_id": true,
	}
	for _, keys := range attributesInReadme(t) {
		for _, key := range keys {
			labels[strings.ReplaceAll(key, ".", "_")] = true
		}
	}
	return labels
}

// valuesOf are the values of the labels that have few; "" is without the label.
func valuesOf(t *testing.T) map[string]map[string]bool {
	t.Helper()
	all := map[string]map[string]bool{}
	for label, words := range map[string][]string{
		"network_direction": directionNames[:], "network_io_direction": {"transmit", "receive"},
		"connection_outcome": outcomeNames[:], "peer_address": column(t, ownPage, "peers", 1),
	} {
		all[label] = map[string]bool{"": true}
		for _, word := range words {
			all[label][word] = true
		}
	}
	return all
}

// prometheusNames are what the exporter makes of the metrics' names.
func prometheusNames(t *testing.T) map[string]bool {
	t.Helper()
	units := map[string]string{"s": "_seconds", "By": "_bytes"}
	all := map[string]bool{}
	for _, d := range definitions(t) {
		name := strings.ReplaceAll(d.name, ".", "_") + units[d.unit]
		if d.kind == counter {
			name += "_total"
		}
		all[name] = true
	}
	return all
}
