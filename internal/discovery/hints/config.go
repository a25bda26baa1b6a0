package hints

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tallymanhq/tallyman/internal/discovery/target"
)

// scraperConfig reads the configuration of a receiver for one endpoint.
func (r *reader) scraperConfig(s source, receiver string, at target.Endpoint) (asked, error) {
	config, err := parseConfig(r.value(s, "config"))
	if err != nil {
		return asked{}, err
	}
	filled, err := r.fill(config, at)
	if err != nil {
		return asked{}, err
	}
	config = filled.(map[string]any)
	switch typeOf(receiver) {
	case prometheusReceiver:
		return r.scrapeConfig(config, at)
	case nginxReceiver:
		if err := checkPlain(config, ""); err != nil {
			return asked{}, err
		}
		config, err = r.nginxConfig(config, at)
		return asked{config: config}, err
	}
	return asked{config: config}, r.check(config, at)
}

// nginxReceiver is the type of the receiver that reads nginx' page of state.
const nginxReceiver = "nginx"

// nginxConfig is that receiver's configuration for one endpoint. Without a URL it would
// be given the address alone, which it does not understand; the path is its default's.
func (r *reader) nginxConfig(config map[string]any, at target.Endpoint) (map[string]any, error) {
	taken, err := r.nginx(at).take(config, nginxReceiver)
	if err != nil {
		return nil, err
	}
	if taken["endpoint"] == nil {
		taken["endpoint"] = "http://" + addrText(at) + "/status"
	}
	return taken, nil
}

// nginx are the settings of that receiver that a container may decide.
func (r *reader) nginx(at target.Endpoint) settings {
	const mostMetrics = 64 // the receiver has four
	const longestDelay = 10 * time.Minute
	return settings{
		"endpoint":            r.httpAddress(at),
		"collection_interval": interval,
		"initial_delay":       duration(0, longestDelay),
		"timeout":             timeout,
		"metrics":             named(mostMetrics, checkText, table(settings{"enabled": flag}, "a metric")),
	}
}

// typeOf is the type of a receiver by which it is known here: some have an older
// name without underscores, by which they can be started as well.
func typeOf(receiver string) string {
	typ, _, _ := strings.Cut(receiver, "/")
	return plainType(typ)
}

func plainType(typ string) string { return strings.ReplaceAll(strings.ToLower(typ), "_", "") }

// parseConfig reads YAML from a label: one map with text keys. Aliases are
// refused, a few lines of which unfold to gigabytes.
func parseConfig(text string) (map[string]any, error) {
	if strings.TrimSpace(text) == masked {
		return nil, errMasked
	}
	if len(text) > longestValue {
		return nil, fmt.Errorf("is longer than %d bytes", longestValue)
	}
	if strings.Contains(text, "${") {
		return nil, errors.New("holds ${...}: labels cannot refer to the environment, files or other providers (put secrets into a rule)")
	}
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(text), &document); err != nil {
		return nil, errors.New("is no YAML") // the library's text would quote values
	}
	config := map[string]any{}
	if document.Kind == 0 {
		return config, nil
	}
	if err := checkNode(&document, 0); err != nil {
		return nil, err
	}
	if root := document.Content[0]; root.Kind != yaml.MappingNode {
		return nil, errors.New("is no map of settings")
	}
	if err := document.Decode(&config); err != nil {
		return nil, errors.New("is no map of settings")
	}
	return config, nil
}

// checkNode lets plain YAML pass, so that what is decoded is made of maps with
// text keys, lists and scalars.
func checkNode(n *yaml.Node, depth int) error {
	const deepest = 20 // operators of file_log reach half of it
	if depth > deepest {
		return fmt.Errorf("is nested more than %d deep", deepest)
	}
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		return errors.New("holds anchors or aliases")
	}
	for i, child := range n.Content {
		isKey := n.Kind == yaml.MappingNode && i%2 == 0
		if isKey && (child.Kind != yaml.ScalarNode || child.ShortTag() != "!!str") {
			return fmt.Errorf("line %d: a key is no text", child.Line)
		}
		if err := checkNode(child, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// fill replaces the templates: `endpoint` and the other names of names. A string
// that is `port` and nothing else becomes a number.
func (r *reader) fill(value any, at target.Endpoint) (any, error) {
	switch v := value.(type) {
	case string:
		return fillText(v, r.names(at))
	case []any:
		filled := make([]any, 0, len(v))
		for _, one := range v {
			f, err := r.fill(one, at)
			if err != nil {
				return nil, err
			}
			filled = append(filled, f)
		}
		return filled, nil
	case map[string]any:
		filled := make(map[string]any, len(v))
		for key, one := range v {
			f, err := r.fill(one, at)
			if err != nil {
				return nil, fmt.Errorf("%.100q: %w", key, err)
			}
			filled[key] = f
		}
		return filled, nil
	}
	return value, nil
}

// names are what a template in a label may be. They mean what they mean in rules.
func (r *reader) names(at target.Endpoint) func(string) (any, bool) {
	return func(name string) (any, bool) {
		switch name {
		case "endpoint":
			return addrText(at), at.Addr.IsValid()
		case "host":
			return at.Addr.Addr().String(), at.Addr.IsValid()
		case "port":
			return int(at.Port), at.Port != 0
		case "name", "container_name":
			return r.target.Name, true
		case "id", "container_id":
			return r.target.ID, true
		case "image":
			return r.target.Image, true
		case "hostname":
			return r.target.Hostname, true
		}
		return nil, false
	}
}

func addrText(at target.Endpoint) string {
	return net.JoinHostPort(at.Addr.Addr().String(), strconv.Itoa(int(at.Addr.Port())))
}

// fillText replaces `name` by its value; \` is a backtick.
func fillText(text string, names func(string) (any, bool)) (any, error) {
	var b strings.Builder
	for rest := text; rest != ""; {
		i := strings.IndexByte(rest, '`')
		if i < 0 {
			b.WriteString(rest)
			break
		}
		if i > 0 && rest[i-1] == '\\' {
			b.WriteString(rest[:i-1] + "`")
			rest = rest[i+1:]
			continue
		}
		name, after, closed := strings.Cut(rest[i+1:], "`")
		if !closed {
			return nil, errors.New("backtick is not closed")
		}
		value, ok := names(strings.TrimSpace(name))
		if !ok {
			return nil, fmt.Errorf("template %.64q: a label may use endpoint, host, port, name, id, image and hostname where they are known, expressions are for rules", name)
		}
		if len(name)+2 == len(text) {
			return value, nil
		}
		b.WriteString(rest[:i] + fmt.Sprint(value))
		rest = after
	}
	return b.String(), nil
}
