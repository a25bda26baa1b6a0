package hints

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/secret"
)

// refusedParts are parts of keys by which a setting would reach beyond the
// container: files of the host, the operator's extensions, discovery of other
// targets, commands. jar is jmx's program, driver and datasource lead sqlquery;
// operators have expressions. They are what is known to be bad, for receivers whose
// settings we do not know: see doc.go.
var refusedParts = []string{
	"file", "path_to", "directory", "storage", "auth", "middleware", "extension", "_sd_config",
	"proxy", "command", "exec", "script", "jar", "driver", "datasource", "socket", "relabel", "operators",
}

// addressKeys are settings that say where to connect to. A value with a scheme
// is an address whatever its key.
var addressKeys = []string{
	"endpoint", "endpoints", "target", "targets", "host", "hosts", "hostname", "server", "servers",
	"address", "addresses", "addr", "broker", "brokers", "url", "urls", "uri", "nodes", "listen_address",
}

// check lets a configuration pass that reaches nothing but its own container, as far
// as that can be told of a receiver whose settings are not known.
func (r *reader) check(config map[string]any, at target.Endpoint) error {
	if err := checkPlain(config, ""); err != nil {
		return err
	}
	if err := checkFloors(config, ""); err != nil {
		return err
	}
	return r.checkAddresses(config, "", at)
}

var (
	errProvider    = errors.New("holds ${...}, which labels may not")
	errNotFinite   = errors.New("is no finite number")
	errSecretValue = errors.New("the value looks like a secret, which everybody can read in a label (put it into a rule, by environment or file)")
)

// checkPlain refuses keys that reach for more than the container, all that looks like
// a secret, and what is not equal to itself. path is where value stands.
func checkPlain(value any, path string) error {
	switch v := value.(type) {
	case map[string]any:
		for _, key := range sortedKeys(v) {
			where := strings.TrimPrefix(path+"::"+key, "::")
			if err := checkKey(key); err != nil {
				return fmt.Errorf("%.128q: %w", where, err)
			}
			if err := checkPlain(v[key], where); err != nil {
				return err
			}
		}
	case []any:
		for _, one := range v {
			if err := checkPlain(one, path); err != nil {
				return err
			}
		}
	case float64:
		if !isFinite(v) {
			return fmt.Errorf("%.128q: %w", path, errNotFinite)
		}
	case string:
		if strings.Contains(v, "${") {
			return fmt.Errorf("%.128q: %w", path, errProvider)
		}
		if secret.Certain([]byte(v)) {
			return fmt.Errorf("%.128q: %w", path, errSecretValue)
		}
	}
	return nil
}

func checkKey(key string) error {
	if secret.Name(key) {
		return errors.New("is a secret, which everybody could read in a label (put it into a rule, by environment or file)")
	}
	lower := strings.ToLower(key)
	for _, part := range refusedParts {
		if strings.Contains(lower, part) {
			return errors.New("a label may not set this (write a rule)")
		}
	}
	return nil
}

// floors are what values must be by the ends of their keys, the longer end first.
var floors = []struct {
	end  string
	hold setting
}{
	{"poll_interval", pollInterval},
	{"interval", interval},
	{"timeout", timeout},
	{"size", size(1, largestBuffer)},
}

// Bounds of what is done how often and how long one may wait for it. Prometheus
// reads an answer that is too long to its end, or until the timeout, whose own default
// is ten seconds.
var (
	interval     = duration(time.Second, 24*time.Hour)
	pollInterval = duration(100*time.Millisecond, time.Minute)
	timeout      = duration(time.Millisecond, 10*time.Second)
)

// largestBuffer is in bytes: the default of file_log for one record.
const largestBuffer = 1 << 20

// checkFloors refuses what would keep the agent busy or fill its memory.
func checkFloors(value any, key string) error {
	switch v := value.(type) {
	case map[string]any:
		for _, k := range sortedKeys(v) {
			if err := checkFloors(v[k], k); err != nil {
				return err
			}
		}
		return nil
	case []any:
		for _, one := range v {
			if err := checkFloors(one, key); err != nil {
				return err
			}
		}
		return nil
	}
	for _, f := range floors {
		if !strings.HasSuffix(strings.ToLower(key), f.end) {
			continue
		}
		if _, err := f.hold(value); err != nil {
			return fmt.Errorf("%.100q: %w", key, err)
		}
		break
	}
	return nil
}

// checkAddresses holds everything that says where to connect to against the
// endpoint. key is that of the nearest map around value.
func (r *reader) checkAddresses(value any, key string, at target.Endpoint) error {
	switch v := value.(type) {
	case map[string]any:
		for _, k := range sortedKeys(v) {
			if err := r.checkAddresses(v[k], k, at); err != nil {
				return err
			}
		}
	case []any:
		for _, one := range v {
			if err := r.checkAddresses(one, key, at); err != nil {
				return err
			}
		}
	case string:
		isAddress := strings.Contains(v, "://") || hasPort(v) || slices.Contains(addressKeys, strings.ToLower(key))
		if !isAddress {
			return nil
		}
		if err := r.own(v, at); err != nil {
			return fmt.Errorf("%.100q: %w", key, err)
		}
	}
	return nil
}

var (
	errElsewhere = errors.New("does not lead to the container itself (write `endpoint` or `host`)")
	errNoURL     = errors.New("is no URL of http or https (write http://`endpoint`/status)")
)

// httpAddress is a URL that leads to an endpoint.
func (r *reader) httpAddress(at target.Endpoint) setting {
	const longest = 1024 // bytes; paths and queries of pages of state are short
	return func(value any) (any, error) {
		s, err := text(longest)(value)
		if err != nil {
			return nil, err
		}
		if err := r.own(s.(string), at); err != nil {
			return nil, err
		}
		if scheme, _, isURL := strings.Cut(s.(string), "://"); !isURL || scheme != "http" && scheme != "https" {
			return nil, errNoURL
		}
		return s, nil
	}
}

// own tells what is wrong with an address: it must lead to the endpoint that is asked
// for, as the receiver is let nowhere else. A host alone must be an address of the
// container: in the host's network or behind a published port it would be the host
// itself.
func (r *reader) own(text string, at target.Endpoint) error {
	host, ok := hostOf(text)
	if !ok {
		return errElsewhere
	}
	if ip, err := netip.ParseAddr(host); err == nil && text == host {
		if !slices.ContainsFunc(r.target.Addresses, func(a target.Address) bool { return a.IP == ip }) {
			return errElsewhere
		}
		return nil
	}
	addr, err := netip.ParseAddrPort(host)
	switch {
	case err != nil || addr.Addr() != at.Addr.Addr():
		return errElsewhere
	case addr != at.Addr:
		port := r.portAt(addr)
		return fmt.Errorf("leads to port %d, and port %d is asked for (write `endpoint`, or ask for the other port by %s.%d/...)", port, at.Port, metrics, port)
	}
	return nil
}

// portAt is the port within the container that an address leads to. They differ only
// where nothing but published ports can be reached.
func (r *reader) portAt(addr netip.AddrPort) uint16 {
	if e, ok := r.first(func(e target.Endpoint) bool { return e.Addr == addr }); ok {
		return e.Port
	}
	return addr.Port()
}

// hasPort tells of "host:port" under whatever key.
func hasPort(text string) bool {
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

// hostOf returns host and port of an address or a URL, or a bare host. A URL of HTTP
// that names no port has that of its scheme.
func hostOf(text string) (string, bool) {
	if !strings.Contains(text, "://") {
		if strings.ContainsAny(text, "/@?#\\ ") {
			text = "tcp://" + text
		} else {
			return text, true
		}
	}
	u, err := url.Parse(text)
	if err != nil || u.User != nil || u.Opaque != "" {
		return "", false
	}
	if port, ok := schemePorts[u.Scheme]; ok && u.Port() == "" && !strings.HasSuffix(u.Host, ":") {
		return net.JoinHostPort(u.Hostname(), port), true
	}
	return u.Host, true
}

var schemePorts = map[string]string{"http": "80", "https": "443"}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
