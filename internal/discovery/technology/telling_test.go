package technology_test

import (
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/discovery/technology"
)

func TestTelling(t *testing.T) {
	f := func(line, want string) {
		t.Helper()
		if got := strings.Join(technology.Telling(strings.Split(line, "|")), "|"); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	f("java|-Dpassword=hunter2|-cp|/a:/b|kafka.Kafka|server.properties", "java|?|kafka.Kafka|?")
	f("/opt/app|hunter2", "?|?")
	f("redis-server *:6379", "redis-server")
	f("/usr/bin/python3|-X|dev|-m|/x/gunicorn|a|b|c|d|e", "python3|-X|?|-m|gunicorn|?|?")
	f("consul|-token|hunter2|agent", "consul|?|agent")
	f("clickhouse-client|--password", "clickhouse-client")
	f("", "")
	if technology.Telling(nil) != nil {
		t.Error("something of nothing")
	}
}

// What is left tells the same as the whole, and holds nothing but words of the table.
func FuzzTelling(f *testing.F) {
	var known []string
	for _, e := range technology.Table() {
		known = slices.Concat(known, e.Executables, e.Twins, e.Words, e.Serves, []string{e.Launcher})
	}
	for _, line := range []string{
		"java|-Xmx1G|-cp|/a|kafka.Kafka|x", "python3|-W|x|y|gunicorn", "python3|-W|-v|gunicorn", "python3|-m|-v|gunicorn", "python3|-m|-m|gunicorn",
		"python3|-c|gunicorn", "consul|watch|agent", "consul|-a|b|c|d|agent", "x|y|z|-m|gunicorn|start", "/a b/gunicorn|x", "java|-x/kafka.Kafka", "|nginx",
		"java|org.apache.catalina.startup.Bootstrap|-x|y|start", "beam.smp|-s|rabbit|boot", "redis-server: *", "clickhouse-client|server",
	} {
		f.Add("java", line, uint16(9092))
		f.Add("python3.13", line, uint16(0))
		f.Add("", line, uint16(6379))
		f.Add("consul", line, uint16(0))
		f.Add("clickhouse", line, uint16(0))
	}
	f.Fuzz(func(t *testing.T, executable, line string, port uint16) {
		words := strings.Split(line, "|")
		telling := technology.Telling(words)
		recognise := func(words []string) []target.Technology {
			facts := technology.Facts{Processes: []technology.Process{process(1, executable, words...)}, Image: "kafka"}
			if port != 0 {
				facts.Listening = []target.Listener{at(port, 1, executable)}
			}
			return technology.Recognise(facts)
		}
		if diff := gocmp.Diff(recognise(words), recognise(telling)); diff != "" {
			t.Errorf("%q became %q: (-whole +telling)\n%s", words, telling, diff)
		}
		for _, word := range telling {
			bare := strings.TrimRight(word, "0123456789.-_")
			if len(word) > 2 && !slices.Contains(known, word) && !slices.Contains(known, bare) {
				t.Errorf("%q is kept of %q", word, words)
			}
		}
	})
}
