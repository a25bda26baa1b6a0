package hints_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tallymanhq/tallyman/internal/discovery/hints"
)

// refusal returns a check that labels start nothing and why, without a value shown.
func refusal(t *testing.T) func(l labels, want string) {
	return func(l labels, want string) {
		t.Helper()
		got := hints.Read(container(l), written())
		if len(got.Specs) > 0 {
			t.Errorf("%v: started %v", l, short(got))
		}
		if len(got.Problems) != 1 || !strings.Contains(got.Problems[0].Err.Error(), want) || strings.Contains(fmt.Sprint(got.Problems), "hunter2") {
			t.Errorf("%.300v: %v, want %q", l, got.Problems, want)
		}
	}
}

func scraper(receiver, config string) labels {
	return labels{metrics + "/enabled": "true", metrics + "/scraper": receiver, metrics + "/config": config}
}

func logging(config string) labels {
	return labels{logs + "/enabled": "true", logs + "/config": config}
}

func TestRefused(t *testing.T) {
	f := refusal(t)
	f(labels{metrics + "/enabled": "yes"}, "neither true nor false")
	f(labels{metrics + "/enabled": "true"}, "names no receiver")
	f(labels{metrics + ".http/enabled": "true", metrics + ".http/scraper": "nginx"}, `port "http"`)
	f(labels{metrics + ".080/enabled": "true", metrics + ".080/scraper": "nginx"}, `port "080"`)
	f(labels{metrics + "/enabled": "true", metrics + "/scraper": "a/b/c"}, `receiver "a/b/c"`)
	f(labels{metrics + "/enabled": "true", metrics + "/scraper": "a", metrics + "/signals": "traces"}, `signal "traces"`)
	f(labels{"prometheus.io/scrape": "true", "prometheus.io/port": "0"}, `port "0"`)
	f(labels{"prometheus.io/scrape": "true", "prometheus.io/scheme": "file"}, "read prometheus.io/scheme: is neither http nor https")
	f(labels{"prometheus.io/scrape": "true", "prometheus.io/path": "@evil/"}, "read prometheus.io/path: does not begin with a slash")
	f(labels{"prometheus.io/scrape": "1"}, "neither true nor false")

	f(scraper("x", "a: ["), "is no YAML")
	f(scraper("x", "- a"), "is no map")
	f(scraper("x", "1: a"), "a key is no text")
	f(scraper("x", "a: &b c\nd: *b"), "anchors")
	f(scraper("x", strings.Repeat("{a: ", 40)+"1"+strings.Repeat("}", 40)), "nested")

	f(scraper("x", "a: "+strings.Repeat("x", 20000)), "longer than")
	f(labels{strings.Repeat(metrics, 10) + "/enabled": "true"}, "longer than")

	f(scraper("x", "a: ${env:hunter2}"), "${...}")
	f(scraper("x", "a: ${file:/etc/hunter2}"), "${...}")
	f(scraper("x", "a: \"\\x24{env:HOME}\""), "${...}")
	f(scraper("redis", "password: hunter2"), "is a secret")
	f(scraper("x", "deep: [{api_token: hunter2}]"), "is a secret")
	f(scraper("x", "a: postgres://u:hunter2@172.17.0.2:80/"), "looks like a secret")
	f(scraper("x", "tls: {ca_file: /etc/ssl/x}"), "may not set this")
	f(scraper("x", "auth: {authenticator: oidc}"), "may not set this")
	f(scraper("x", "operators: [{type: file_input}]"), "may not set this")
	f(scraper("x", "a: `env`"), "is no YAML")
	f(scraper("x", "a: '`1+1`'"), "expressions are for rules")
	f(scraper("x", "a: '`endpoint'"), "not closed")

	for _, receiver := range []string{"x", "nginx"} {
		f(scraper(receiver, "endpoint: 10.0.0.1:80"), "lead to the container itself")
		f(scraper(receiver, "endpoint: http://169.254.169.254/latest"), "lead to the container itself")
		other := "leads to port %d, and port 80 is asked for (write `endpoint`, or ask for the other port by " + metrics + ".%[1]d/...)"
		f(scraper(receiver, "endpoint: http://172.17.0.2:22/"), fmt.Sprintf(other, 22))
		f(scraper(receiver, "endpoint: http://`host`:9100/"), fmt.Sprintf(other, 9100))
		f(scraper(receiver, "endpoint: https://`host`/"), fmt.Sprintf(other, 443))
		f(scraper(receiver, "endpoint: http://10.0.0.1/"), "lead to the container itself")
		f(scraper(receiver, "endpoint: 'http://`host`:/'"), "lead to the container itself")
		f(scraper(receiver, "endpoint: http://`endpoint`@evil/"), "looks like a secret")
		f(scraper(receiver, "endpoint: http://`host`@evil/"), "lead to the container itself")
		f(scraper(receiver, "endpoint: 'http://`endpoint`.evil.org/'"), "lead to the container itself")
		f(scraper(receiver, "endpoint: /var/run/docker.sock"), "lead to the container itself")
	}
	f(scraper("x", "targets: [{endpoint: 'http://evil/'}]"), "lead to the container itself")
	f(scraper("x", "whatever: evil:80"), "lead to the container itself")
	f(scraper("x", "hosts: [evil]"), "lead to the container itself")
}

// A receiver that the operator allows has bounds where keys say what they are.
func TestRefusedOfAnyReceiver(t *testing.T) {
	f := refusal(t)
	f(scraper("x", "collection_interval: 1ns"), `"collection_interval": is 1ns, below 1s`)
	f(scraper("x", "deep: [{scrape_interval: 10ms}]"), `"scrape_interval": is 10ms, below 1s`)
	f(scraper("x", "collection_interval: 1"), `"collection_interval": is no duration`)
	f(scraper("x", "poll_interval: 1ms"), `"poll_interval": is 1ms, below 100ms`)
	f(scraper("x", "timeout: 0s"), `"timeout": is 0s, below 1ms`)
	f(scraper("x", "timeout: 1h"), `"timeout": is 1h0m0s, above 10s`)
	f(scraper("x", "a: {b: [.nan]}"), `"a::b": is no finite number`)
	f(scraper("x", "read_buffer_size: 9000000000000000000"), `"read_buffer_size": is 9000000000000000000`)
	f(scraper("x", "read_buffer_size: 9e18"), `"read_buffer_size": is no whole number`)
	f(scraper("x", "fingerprint_size: 1TiB"), `"fingerprint_size": is no size`)
	f(scraper("x", "max_size: -1"), `"max_size": is -1`)
}

// What nginx' client of HTTP has beside the address: a buffer of 9e18 bytes ends the agent.
func TestRefusedOfNginx(t *testing.T) {
	f := refusal(t)
	for _, key := range []string{"read_buffer_size", "write_buffer_size", "max_idle_conns", "proxy_url", "headers", "compression", "tls", "http2_read_idle_timeout"} {
		f(scraper("nginx", key+": 9000000000000000000"), key)
	}
	f(scraper("nginx/a", "read_buffer_size: 9000000000000000000"), `"read_buffer_size" is no setting that a label may give to nginx`)
	f(scraper("nginx", "collection_interval: 1ms"), `"collection_interval": is 1ms, below 1s`)
	f(scraper("nginx", "initial_delay: 1000h"), `"initial_delay": is 1000h0m0s, above`)
	f(scraper("nginx", "timeout: 0s"), `"timeout": is 0s, below`)
	f(scraper("nginx", "metrics: {a: {enabled: 1}}"), `"enabled": is neither true nor false`)
	f(scraper("nginx", "metrics: {a: {what: 1}}"), `"what" is no setting`)
	f(scraper("nginx", "timeout: 11s"), `"timeout": is 11s, above 10s`)
	for _, address := range []string{"unix://172.17.0.2:80", "172.17.0.2:80", "172.17.0.2"} {
		f(scraper("nginx", "endpoint: '"+address+"'"), "is no URL of http or https (write http://`endpoint`/status)")
	}
	f(scraper("nginx", "endpoint: [a]"), `"endpoint": is no text`)
}

func TestRefusedOfPrometheus(t *testing.T) {
	f := refusal(t)
	for _, key := range []string{
		"config", "static_configs", "relabel_configs", "metric_relabel_configs", "honor_labels", "follow_redirects",
		"proxy_url", "file_sd_configs", "basic_auth", "target_limit", "scrape_failure_log_file", "enable_http2", "scrape_native_histograms",
	} {
		f(scraper("prometheus", key+": true"), fmt.Sprintf("%q is no setting that a label may give to prometheus", key))
	}
	f(scraper("prometheus", "scrape_interval: 1ms"), `"scrape_interval": is 1ms, below 1s`)
	f(scraper("prometheus", "collection_interval: 10s\nscrape_interval: 20s"), `"scrape_interval" is given twice`)
	f(scraper("prometheus", "timeout: 11s"), `"scrape_timeout": is 11s, above 10s`)
	f(scraper("prometheus", "timeout: 5s\nscrape_interval: 4s"), `"scrape_timeout": is 5s, longer than "scrape_interval", which is 4s`)
	f(scraper("prometheus", "body_size_limit: 5MiB"), `"body_size_limit": is 5242880, a label may give 1 to 4194304`)
	f(scraper("prometheus", "body_size_limit: 0"), `"body_size_limit": is 0`)
	f(scraper("prometheus", "sample_limit: 0"), `"sample_limit": is 0`)
	f(scraper("prometheus", "sample_limit: 20001"), `"sample_limit": is 20001`)
	f(scraper("prometheus", "label_limit: 0"), `"label_limit": is 0`)
	f(scraper("prometheus", "label_name_length_limit: 0"), `"label_name_length_limit": is 0`)
	f(scraper("prometheus", "label_value_length_limit: 1000000"), `"label_value_length_limit": is 1000000`)
	f(scraper("prometheus", "job_name: ''"), `"job_name": is empty`)
	f(scraper("prometheus", "instance: 7"), `"instance": is no text`)
	f(scraper("prometheus", "params: {a: b}"), `"params": "a": is no list`)
	f(scraper("prometheus", "params: {password: [b]}"), "is a secret")
}

func TestRefusedOfLogs(t *testing.T) {
	f := refusal(t)
	for _, name := range []string{"file_log", "filelog", "file_log/x"} {
		f(scraper(name, "include: [/etc/shadow]"), "file_log is no scraper")
	}
	for _, key := range []string{
		"include", "exclude", "resource", "storage", "header", "delete_after_read", "initial_buffer_size", "max_concurrent_files",
		"max_batches", "compression", "retry_on_failure", "on_truncate", "include_file_owner_name",
	} {
		f(logging(key+": [/etc/shadow]"), fmt.Sprintf("%q is no setting that a label may give to file_log", key))
	}
	f(logging("fingerprint_size: 1TiB"), `"fingerprint_size": is no size`)
	f(logging("fingerprint_size: 17KiB"), `"fingerprint_size": is 17408`)
	f(logging("max_log_size: 257KiB"), `"max_log_size": is 263168`)
	f(logging("multiline: {line_end_pattern: x}\nmax_log_size: 65KiB"), `"max_log_size": is 66560, a label may give 1024 to 65536 beside multiline`)
	f(logging("multiline: {line_end_pattern: x}\npoll_interval: 999ms"), `"poll_interval": is 999ms, below 1s`)
	f(logging("max_log_size: 1"), `"max_log_size": is 1`)
	f(logging("poll_interval: 1ns"), `"poll_interval": is 1ns, below 100ms`)
	f(logging("force_flush_period: 1ns"), `"force_flush_period": is 1ns, below 100ms`)
	f(logging("encoding: nop"), `"encoding": is none of`)
	f(logging("start_at: middle"), `"start_at": is none of`)
	f(logging("include_file_path: 1"), `"include_file_path": is neither`)
	f(logging("attributes: {a: '${env:HOME}'}"), "${...}")
	f(logging("attributes: {a: 'EXPR(env(\"HOME\"))'}"), "holds an expression")
	f(logging("attributes: {a: 1}"), "is no text")
	f(logging("attributes: {log.file.path: /var/log/pods/a_b_c/d/0.log}"), "is set by the receiver")
	f(labels{logs + "/enabled": "maybe"}, "neither true nor false")
}

func TestRefusedOperators(t *testing.T) {
	f := refusal(t)
	f(logging("operators: [x]"), "is no map")
	f(logging("operators: {}"), "are no list")
	f(logging("operators: ["+strings.Repeat("{type: flatten, field: body.a},", 11)+"]"), "are more than 10")
	for _, typ := range []string{
		"file_output", "file_input", "stdout", "filter", "router", "recombine", "copy", "regex_replace", "assign_keys",
		"noop", "syslog_parser", "uri_parser", "json_array_parser", "generate_input", "",
	} {
		f(logging("operators: [{type: '"+typ+"'}]"), fmt.Sprintf("operator 1: operator %q is none", typ))
	}
	// The reviewer's: a core for ever.
	endless := "all([1..40], {all([1..40], {all([1..40], {true})})})"
	for _, key := range []string{"if", "expr", "is_first_entry", "is_last_entry"} {
		f(logging(fmt.Sprintf("operators: [{type: json_parser, %s: '%s'}]", key, endless)), key)
	}
	f(logging("operators: [{type: add, field: attributes.a, value: 'EXPR(env(\"HOME\"))'}]"), "holds an expression")
	f(logging("operators: [{type: add, field: attributes.a, value: {b: c}}]"), "is neither text nor number")
	for _, value := range []string{".nan", ".inf", "-.inf"} { // .nan is not equal to itself
		f(logging("operators: [{type: add, field: attributes.a, value: "+value+"}]"), `"value": is no finite number`)
		f(logging("operators: [{type: severity_parser, parse_from: body, mapping: {error: ["+value+"]}}]"), "is no finite number")
	}
	f(logging("operators: [{type: json_parser, output: [a, a]}]"), `"output" is no setting`)
	f(logging("operators: [{type: json_parser, body: attributes}]"), `"body" is no setting`)
	f(logging("operators: [{type: regex_parser, regex: 'a', cache: {size: 65535}}]"), `"cache" is no setting`)
	f(logging("operators: [{type: severity_parser, parse_from: body, mapping: {error: {min: 0, max: 9000000000}}}]"), "is a range")
	f(logging("operators: [{type: severity_parser, parse_from: body, mapping: {error: [{min: 0, max: 9000000000}]}}]"), "is a range")
	f(logging("operators: [{type: time_parser, parse_from: body, location: ../../etc/x}]"), "is no time zone")
	f(logging("operators: [{type: json_parser, on_error: explode}]"), `"on_error": is none of`)
	f(logging("operators: [{type: flatten, field: body.a}, {type: container}]"), "may only be the first")
	f(logging("operators: [{type: container, add_metadata_from_filepath: true}]"), "is no setting")
	f(logging("operators: [{type: container, max_log_size: 1TiB}]"), "is no setting")
}

// A record that says it is another container's.
func TestRefusedIdentity(t *testing.T) {
	f := refusal(t)
	for _, field := range []string{`resource["container.id"]`, "resource", "resource.a", "$resource.a"} {
		f(logging(fmt.Sprintf("operators: [{type: add, field: '%s', value: x}]", field)), "is of the resource")
		f(logging(fmt.Sprintf("operators: [{type: move, from: body, to: '%s'}]", field)), "is of the resource")
		f(logging(fmt.Sprintf("operators: [{type: json_parser, parse_to: '%s'}]", field)), "is of the resource")
		f(logging(fmt.Sprintf("operators: [{type: remove, field: '%s'}]", field)), "is of the resource")
		f(logging(fmt.Sprintf("operators: [{type: retain, fields: ['%s']}]", field)), "is of the resource")
		f(logging(fmt.Sprintf("operators: [{type: flatten, field: '%s'}]", field)), "is of the resource")
	}
	for _, field := range []string{`["resource"]["a"]`, "attributesresource", "body[resource]", "", " resource"} {
		f(logging(fmt.Sprintf("operators: [{type: add, field: %q, value: x}]", field)), `"field": is`)
	}
}

// The cost of a regular expression is told before it is paid.
func TestRefusedRegex(t *testing.T) {
	f := refusal(t)
	parser := func(regex string) labels { return logging("operators: [{type: regex_parser, regex: '" + regex + "'}]") }
	border := func(regex string) labels { return logging("multiline: {line_start_pattern: '" + regex + "'}") }
	for _, of := range []func(string) labels{parser, border} {
		f(of(strings.Repeat("a", 513)), "is longer than 512 bytes")
		f(of("("), "is no regular expression")
		f(of("a{1000}b{1000}"), "is too large")
		f(of("((ab){25}){30}"), "is too large")
		f(of(strings.Repeat("x{100}", 80)), "is too large")
		f(of("a{301}"), "is too large")
		f(of("(a|(b|(c|(d))))"), "nested more than 3 deep")
	}
	// All of one label are counted together.
	f(logging("operators: ["+strings.Repeat("{type: regex_parser, regex: '"+strings.Repeat("a?", 40)+"'},", 5)+"]"), "is too large")
	f(border("a{64}"), "all of multiline may have 64 instructions")
	for _, endless := range []string{"x(.*y)?", "a+", "(?:ab){2,}", "x(?:a|b*)"} {
		f(border(endless), "has no longest match")
	}
	// An empty border would end the reader's loop with a panic.
	for _, empty := range []string{"^", "$", "a*", "\\b", "(a|b*)", "a?", "(?:)", "a{0,3}", "x|"} {
		f(border(empty), "may match nothing")
		f(logging("multiline: {line_end_pattern: '"+empty+"'}"), "may match nothing")
	}
	got := hints.Read(container(parser(`^(?P<remote>[^ ]*) - (?P<user>[^ ]*) \[(?P<time>[^\]]*)\] "(?P<method>\S+) (?P<path>[^"]*?) (?P<protocol>\S*)" (?P<code>\d{3}) (?P<size>\d+) "(?P<referer>[^"]*)" "(?P<agent>[^"]*)"$`)), written())
	if len(got.Specs) != 1 {
		t.Error(got.Problems)
	}
	got = hints.Read(container(border(`^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(?:[.,]\d{1,9})?\s`)), written())
	if len(got.Specs) != 1 {
		t.Error(got.Problems)
	}
}

// Whatever stands in keys and values, what is told of it is short.
func TestToldShort(t *testing.T) {
	long := strings.Repeat("x", 16000)
	for _, l := range []labels{
		{metrics + "/enabled": long}, {metrics + "/enabled": "true", metrics + "/scraper": "a b" + long},
		{metrics + "/enabled": "true", metrics + "/scraper": "a", metrics + "/signals": long},
		{metrics + "." + long + "/enabled": "true"}, {metrics + "." + long[:200] + "/enabled": "true"},
		{metrics + "/enabled": "true", metrics + "/scraper": "a", metrics + "/config": "a: " + long + long},
		{"prometheus.io/scrape": "true", "prometheus.io/port": long}, {"prometheus.io/scrape": long},
		scraper("x", long+": {a_file: 1}"), scraper("x", long+": '`x`'"), scraper("x", long+"_interval: 1"), scraper("nginx", long+": 1"),
		scraper("prometheus", long+": 1"), scraper("x", "endpoint: "+long), logging(long + ": 1"), logging("operators: [{type: " + long + "}]"),
		logging("operators: [{type: json_parser, " + long + ": 1}]"), logging("attributes: {" + long + ": 1}"),
	} {
		got := hints.Read(container(l), written())
		if len(got.Specs) > 0 || len(got.Problems) != 1 {
			t.Errorf("%v %v", short(got), got.Problems)
			continue
		}
		if text := got.Problems[0].Err.Error(); len(text) > 600 || len(got.Problems[0].Rule) > 100 {
			t.Errorf("%d bytes: %.300s", len(text), text)
		}
	}
}
