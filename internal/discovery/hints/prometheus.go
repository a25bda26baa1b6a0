package hints

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tallymanhq/tallyman/internal/discovery/spec"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
)

// prometheusReceiver is the type of the receiver that scrapes.
const prometheusReceiver = "prometheus"

// defaultInterval: Prometheus spreads first scrapes over one interval, by a hash of
// the target. With a second to find the container the first one comes within five.
// The receiver's own default is a minute.
const defaultInterval = 3 * time.Second

// What one scrape may bring; a label may only lower it. A scrape that has more
// fails. mostSamples is twenty times what an exporter has, largestBody what they take
// with 200 bytes each. The others are well above what Prometheus' documents call usual.
const (
	largestBody      = 4 << 20 // bytes, unpacked
	mostSamples      = 20_000
	mostLabels       = 128
	longestLabelName = 256  // bytes
	longestLabel     = 4096 // bytes
)

// serviceName is what the receiver makes of the name of a job.
const serviceName = "service.name"

// scrapeWords are settings by the collector's words for them.
var scrapeWords = map[string]string{"collection_interval": "scrape_interval", "timeout": "scrape_timeout"}

// scrapeSettings are those of a scrape configuration that a container may decide,
// and instance, the label. Targets are ours, relabelling, discovery and what belongs
// to the client of HTTP are for rules; with honor_labels the samples of one would
// count as another's.
var scrapeSettings = settings{
	"job_name":                 label,
	"instance":                 label,
	"scrape_interval":          inWhole(interval),
	"scrape_timeout":           inWhole(timeout),
	"metrics_path":             metricsPath,
	"scheme":                   scheme,
	"params":                   named(16, checkText, list(16, text(longestConstant))),
	"honor_timestamps":         flag,
	"body_size_limit":          bodySize,
	"sample_limit":             number(1, mostSamples),
	"label_limit":              number(1, mostLabels),
	"label_name_length_limit":  number(1, longestLabelName),
	"label_value_length_limit": number(1, longestLabel),
}

// prometheus reads the keys that Prometheus' own examples have made common.
func (r *reader) prometheus() {
	on, err := r.truth(prometheus + "/scrape")
	if err != nil {
		r.problem(prometheus, err)
	}
	if !on {
		return
	}
	at, ok, err := r.prometheusEndpoint()
	if err != nil {
		r.problem(prometheus, err)
		return
	}
	if !ok || r.asked(at.Port, prometheusReceiver) {
		return
	}
	found := map[string]any{}
	for _, key := range []string{"path", "scheme"} {
		value := r.hints[prometheus+"/"+key]
		if value == "" {
			continue
		}
		setting := map[string]string{"path": "metrics_path", "scheme": "scheme"}[key]
		if _, err := scrapeSettings[setting](value); err != nil {
			r.problem(prometheus, fmt.Errorf("read %s/%s: %w", prometheus, key, err))
			return
		}
		found[setting] = value
	}
	wish, err := r.scrapeConfig(found, at)
	if err != nil {
		r.problem(prometheus, fmt.Errorf("read labels: %w", err))
		return
	}
	wish.signals = spec.Metrics
	r.want(prometheus, prometheusReceiver, at, wish)
}

func (r *reader) prometheusEndpoint() (target.Endpoint, bool, error) {
	text, named := r.hints[prometheus+"/port"]
	if !named {
		return r.endpoint(source{base: prometheus}, prometheusReceiver)
	}
	return r.endpoint(source{base: prometheus, scope: strings.TrimSpace(text)}, prometheusReceiver)
}

// scrapeConfig is the prometheus receiver's configuration for one endpoint.
func (r *reader) scrapeConfig(config map[string]any, at target.Endpoint) (asked, error) {
	given := make(map[string]any, len(config))
	for _, key := range sortedKeys(config) {
		name := cmp.Or(scrapeWords[key], key)
		if _, isTwice := given[name]; isTwice {
			return asked{}, fmt.Errorf("%q is given twice, by both its names", name)
		}
		given[name] = config[key]
	}
	job, err := scrapeSettings.take(given, prometheusReceiver)
	if err != nil {
		return asked{}, err
	}
	if err := checkPlain(job, ""); err != nil {
		return asked{}, err
	}
	every, err := scrapeInterval(job)
	if err != nil {
		return asked{}, err
	}
	var wish asked
	if job["job_name"] == nil {
		job["job_name"] = cmp.Or(r.target.Name, r.target.ID)
		// It is no name of a service: container_tag says what that is, as it does on
		// all other data of the container.
		wish.drop = map[string]string{serviceName: job["job_name"].(string)}
	}
	instance := cmp.Or(job["instance"], any(r.instance(at)))
	delete(job, "instance")
	whole := map[string]any{
		"scrape_interval": every,
		"body_size_limit": bytesText(largestBody), "sample_limit": mostSamples, "label_limit": mostLabels,
		"label_name_length_limit": longestLabelName, "label_value_length_limit": longestLabel,
	}
	maps.Copy(whole, job)
	maps.Copy(whole, map[string]any{
		// An answer that leads elsewhere would be asked for from the host's network.
		"follow_redirects": false,
		"static_configs": []any{map[string]any{
			"targets": []any{at.Addr.String()},
			"labels":  map[string]any{"instance": instance},
		}},
	})
	wish.config = map[string]any{"config": map[string]any{"scrape_configs": []any{whole}}}
	return wish, nil
}

// wholeDuration is how Prometheus has a duration written: 1.5s is none there.
var wholeDuration = regexp.MustCompile(`^([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$`)

// inWhole writes a duration as Prometheus reads it.
func inWhole(one setting) setting {
	return func(value any) (any, error) {
		taken, err := one(value)
		if err != nil {
			return nil, err
		}
		if d := taken.(string); !wholeDuration.MatchString(d) {
			return strconv.FormatInt(span(d).Milliseconds(), 10) + "ms", nil
		}
		return taken, nil
	}
}

// scrapeInterval is how often to scrape. With a timeout that is longer Prometheus does
// not start.
func scrapeInterval(job map[string]any) (string, error) {
	every, _ := job["scrape_interval"].(string)
	timeout, _ := job["scrape_timeout"].(string)
	switch {
	case every == "" && span(timeout) > defaultInterval:
		return timeout, nil
	case every == "":
		return defaultInterval.String(), nil
	case span(timeout) > span(every):
		return "", fmt.Errorf("%q: is %s, longer than %q, which is %s", "scrape_timeout", timeout, "scrape_interval", every)
	}
	return every, nil
}

// instance names the container and its port, and not the address, so that series
// go on after a restart. PodName is what somebody told: in labels it could be
// anybody's.
func (r *reader) instance(at target.Endpoint) string {
	const shortID = 12 // as docker ps shows
	name := cmp.Or(r.target.PodName, r.target.Name, r.target.ID[:min(shortID, len(r.target.ID))])
	return net.JoinHostPort(name, strconv.Itoa(int(at.Port)))
}

// label is the value of a label that all series have.
func label(value any) (any, error) {
	s, err := text(longestConstant)(value)
	if err == nil && s == "" {
		err = errors.New("is empty")
	}
	return s, err
}

func scheme(value any) (any, error) {
	if value != "http" && value != "https" {
		return nil, errors.New("is neither http nor https")
	}
	return value, nil
}

func metricsPath(value any) (any, error) {
	const longest = 1024 // bytes
	s, err := text(longest)(value)
	if err == nil && !strings.HasPrefix(s.(string), "/") {
		err = errors.New("does not begin with a slash")
	}
	return s, err
}

func bodySize(value any) (any, error) {
	n, err := size(1, largestBody)(value)
	if err != nil {
		return nil, err
	}
	return bytesText(n.(int)), nil
}

// bytesText is a size as Prometheus reads it.
func bytesText(n int) string {
	const mebibyte = 1 << 20
	if n%mebibyte == 0 {
		return strconv.Itoa(n/mebibyte) + "MiB"
	}
	return strconv.Itoa(n) + "B"
}
