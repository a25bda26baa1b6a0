// Package hints reads what a container asks for itself, in labels or in the
// annotations of its pod; annotations win.
//
//	io.opentelemetry.discovery.metrics/enabled: "true"
//	io.opentelemetry.discovery.metrics/scraper: nginx
//	io.opentelemetry.discovery.metrics/signals: metrics
//	io.opentelemetry.discovery.metrics/config: |
//	  endpoint: http://`endpoint`/nginx_status
//	io.opentelemetry.discovery.metrics.8080/...    the same for one port
//	io.opentelemetry.discovery.logs/enabled, config
//	io.opentelemetry.discovery.logs.<container name>/...
//	prometheus.io/scrape, port, path, scheme
//	io.opentelemetry.discovery/ignore: "true"      nothing at all, rules neither
//
// These are the forms that receiver_creator reads in Kubernetes. Different here:
// metrics without a port mean one port (the one where the scraper's technology
// was recognised, else the first of TCP), not every one; enabled: "false" also
// keeps rules from collecting this signal. An opt-out that cannot be read ("True", "1")
// counts as one, and is a [Problem].
//
// Whoever may start a container writes these texts, so they are not trusted. For
// the receivers of the default list the settings are a list of what is allowed,
// each with a range: prometheus (prometheus.go), nginx (config.go), file_log
// (logs.go, operators.go). All else is refused with the name of its key. They
// cannot follow a redirect, ask at another port than the one that is asked for, read
// another file or write into the resource, which says whose the data is.
//
// What they may cost is bounded for each receiver, and one container can ask for seven:
// four ports by number, one each without a number and by prometheus.io, and its output.
// An answer has 4 MiB and 20000 samples at most, a record 256 KiB, with multiline 64 KiB.
// A regular expression is bounded by the program that it becomes (regex.go): that is a
// bound for each byte that the container writes, and not for how much it writes. What a
// container writes all the time, into a log or a page, keeps its receivers at work.
// Nothing is shared out between containers here; the runner has a bound for all.
//
// Any other receiver was allowed by the operator, who trusts its settings with
// that: a list of keys that are known to reach further (files, secrets, extensions,
// operators, commands) is refused, every value that looks like an address must be
// the container's own, intervals, time-outs and sizes have bounds (check.go). What
// else such a receiver can be told to do, it does.
//
// For all of them: no providers (${env:...}); a template is one of a few names, not
// an expression. What breaks a rule is an error and starts nothing.
//
// Functions of the container alone, for any number of goroutines; a wish for the
// output of a container costs one look at the file system, whether it is there.
//
// Kernel needs: none.
package hints
