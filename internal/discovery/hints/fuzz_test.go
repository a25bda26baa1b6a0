package hints_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tallymanhq/tallyman/internal/discovery/hints"
	"github.com/tallymanhq/tallyman/internal/discovery/spec"
)

// Whatever stands in labels: Read ends, and what it lets pass names no provider, no
// address but the container's, nothing that a label may not set, and nothing without
// a bound.
func FuzzRead(f *testing.F) {
	f.Add("nginx", "endpoint: http://`endpoint`/x", "true/80")
	f.Add("nginx", "endpoint: http://172.17.0.2.evil/", "true/80")
	f.Add("nginx", "read_buffer_size: 9000000000000000000\ntimeout: 0s", "true/80")
	f.Add("prometheus", "metrics_path: /m", "true/")
	f.Add("prometheus", "sample_limit: 0\nbody_size_limit: 1TiB\nfollow_redirects: true\nscrape_interval: 1ms", "true/")
	f.Add("file_log", "include: [/etc/shadow]", "true/80")
	f.Add("x", "a: [{b: \"\\x24{env:HOME}\"}]", "true/9100")
	f.Add("x", "endpoint: 'http://`endpoint`@evil/'", "false/0")
	f.Add("x", "endpoint: 'tcp://`host`:80'", "/65536")
	f.Add("x", "deep: [{poll_interval: 1ns, read_buffer_size: 9e18}]", "true/80")
	f.Add("x", "fingerprint_size: 1TiB\nmax_log_size: 512KiB\nresource: {a: b}", "true/80")
	f.Add("x", "operators: [{type: filter, expr: 'true'}]", "true/80")
	f.Add("x", "operators: [{type: add, field: 'resource[\"container.id\"]', value: x}]", "true/80")
	f.Add("x", "operators: [{type: json_parser, parse_to: body.a}, {type: regex_parser, regex: 'a{100}'}]", "true/80")
	f.Add("x", "multiline: {line_start_pattern: '^'}", "true/80")
	f.Add("x", "multiline: {line_start_pattern: 'a'}\npoll_interval: 100ms", "true/80")
	f.Add("nginx", "endpoint: http://`host`/", "true/")
	f.Add("prometheus", "timeout: 9s", "true/")
	f.Fuzz(func(t *testing.T, scraper, config, rest string) {
		enabled, port, _ := strings.Cut(rest, "/")
		got := hints.Read(container(labels{
			metrics + "/enabled": enabled, metrics + "/scraper": scraper, metrics + "/config": config,
			metrics + "." + port + "/enabled": enabled, logs + "/enabled": "true", logs + "/config": config,
			"prometheus.io/scrape": enabled, "prometheus.io/port": port, "prometheus.io/path": config,
		}), written())
		for _, s := range got.Specs {
			checkAny(t, s)
			switch s.Receiver {
			case "file_log":
				checkLogSpec(t, s.Config)
			case "nginx":
				checkKeys(t, s.Config, "endpoint", "collection_interval", "initial_delay", "timeout", "metrics")
			case "prometheus":
				checkScrapeSpec(t, s.Config)
			}
		}
		for _, p := range got.Problems {
			if len(p.Err.Error()) > 1000 || len(p.Rule) > 100 {
				t.Errorf("%.200q %.1000q", p.Rule, p.Err)
			}
		}
	})
}

func checkAny(t *testing.T, s spec.Spec) {
	t.Helper()
	if s.Trusted || s.Target != id {
		t.Errorf("%+v", s)
	}
	walk(s.Config, "", func(key string, value any) {
		text := fmt.Sprint(value)
		isExpression := s.Receiver == "file_log" && strings.Contains(text, "EXPR(")
		if isExpression || strings.Contains(text, "${") || !isBounded(key, value) {
			t.Errorf("%s: %q", key, text)
		}
	})
}

// isBounded tells of a value whose key says what it is.
func isBounded(key string, value any) bool {
	text := fmt.Sprint(value)
	switch {
	case key == "endpoint", key == "targets":
		return isOwn(text)
	case strings.HasSuffix(key, "interval"):
		return isBetween(text, 100*time.Millisecond, 24*time.Hour)
	case strings.HasSuffix(key, "timeout"):
		return isBetween(text, time.Millisecond, 10*time.Second)
	case strings.HasSuffix(key, "_size"):
		n, ok := value.(int)
		if !ok { // a receiver that takes texts
			return !strings.ContainsAny(text, "TtGg")
		}
		return n >= 1 && n <= 1<<20
	}
	return true
}

// isOwn tells of an address or a URL of the container.
func isOwn(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		u = &url.URL{Host: text}
	}
	return u.User == nil && slices.Contains([]string{"172.17.0.2", "172.17.0.2:80", "172.17.0.2:6379", "172.17.0.2:9100"}, u.Host)
}

func isBetween(text string, least, most time.Duration) bool {
	d, err := time.ParseDuration(text)
	return err == nil && least <= d && d <= most
}

// walk visits all that is no map and no list, with the key of the nearest map.
func walk(value any, key string, visit func(key string, value any)) {
	switch v := value.(type) {
	case map[string]any:
		for k, one := range v {
			walk(one, k, visit)
		}
	case []any:
		for _, one := range v {
			walk(one, key, visit)
		}
	default:
		visit(key, value)
	}
}

func checkKeys(t *testing.T, config map[string]any, allowed ...string) {
	t.Helper()
	for key := range config {
		if !slices.Contains(allowed, key) {
			t.Errorf("%q in %v", key, config)
		}
	}
}

func checkScrapeSpec(t *testing.T, config map[string]any) {
	t.Helper()
	checkKeys(t, config, "config")
	job := config["config"].(map[string]any)["scrape_configs"].([]any)[0].(map[string]any)
	checkKeys(t, job, "job_name", "scrape_interval", "scrape_timeout", "metrics_path", "scheme", "params", "honor_timestamps", "static_configs",
		"follow_redirects", "body_size_limit", "sample_limit", "label_limit", "label_name_length_limit", "label_value_length_limit")
	if job["follow_redirects"] != false || job["body_size_limit"] == nil {
		t.Errorf("%v", job)
	}
	for key, most := range map[string]int{"sample_limit": 20_000, "label_limit": 128, "label_name_length_limit": 256, "label_value_length_limit": 4096} {
		if n, ok := job[key].(int); !ok || n < 1 || n > most {
			t.Errorf("%s: %v", key, job[key])
		}
	}
	interval, err := time.ParseDuration(job["scrape_interval"].(string))
	if err != nil || interval < time.Second {
		t.Errorf("%v", job["scrape_interval"])
	}
	if timeout, is := job["scrape_timeout"].(string); is && !isBetween(timeout, 0, interval) {
		t.Errorf("%v", job)
	}
}

func checkLogSpec(t *testing.T, config map[string]any) {
	t.Helper()
	checkKeys(t, config, "include", "attributes", "encoding", "fingerprint_size", "force_flush_period", "include_file_name", "include_file_name_resolved",
		"include_file_path", "include_file_path_resolved", "max_log_size", "multiline", "operators", "poll_interval",
		"preserve_leading_whitespaces", "preserve_trailing_whitespaces", "start_at")
	if want := "[/var/lib/docker/containers/" + id + "/" + id + "-json.log]"; fmt.Sprint(config["include"]) != want {
		t.Errorf("include %v", config["include"])
	}
	checkLogPace(t, config)
	operators := config["operators"].([]any)
	if len(operators) > 10 {
		t.Errorf("%d operators", len(operators))
	}
	for _, one := range operators {
		operator := one.(map[string]any)
		if !slices.Contains([]string{"add", "container", "csv_parser", "flatten", "json_parser", "key_value_parser", "move", "regex_parser",
			"remove", "retain", "severity_parser", "time_parser", "trace_parser"}, operator["type"].(string)) {
			t.Errorf("%v", operator)
		}
		for _, key := range []string{"if", "expr", "output", "body", "cache", "is_first_entry", "is_last_entry"} {
			if _, is := operator[key]; is {
				t.Errorf("%v", operator)
			}
		}
		walk(operator, "", func(key string, value any) {
			isField := slices.Contains([]string{"field", "fields", "from", "to", "parse_from", "parse_to"}, key)
			if text := fmt.Sprint(value); isField && !strings.HasPrefix(text, "body") && !strings.HasPrefix(text, "attributes") {
				t.Errorf("%s: %q", key, text)
			}
		})
	}
}

func checkLogPace(t *testing.T, config map[string]any) {
	t.Helper()
	most, poll := 256<<10, 100*time.Millisecond
	if config["multiline"] != nil {
		most, poll = 64<<10, time.Second
	}
	if config["max_log_size"].(int) > most {
		t.Errorf("max_log_size %v", config)
	}
	text, isGiven := config["poll_interval"].(string)
	isNeeded := config["multiline"] != nil
	if isNeeded && !isGiven || isGiven && !isBetween(text, poll, time.Minute) {
		t.Errorf("poll_interval %v", config)
	}
}

func BenchmarkRead(b *testing.B) {
	for name, l := range map[string]labels{
		"nothing-asked": {"app": "shop", "team": "a", "com.docker.compose.project": "x"},
		"scraper":       {metrics + "/enabled": "true", metrics + "/scraper": "nginx", metrics + "/config": "endpoint: http://172.17.0.2:80/x\ntimeout: 5s"},
		"logs":          {logs + "/enabled": "true"},
	} {
		one := container(l)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				hints.Read(one, hints.Options{})
			}
		})
	}
}
