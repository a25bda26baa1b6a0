package configfile

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"go.yaml.in/yaml/v3"

	"github.com/tallymanhq/tallyman/internal/discovery/settings"
	"github.com/tallymanhq/tallyman/internal/discovery/spec"
)

// File is what a configuration says of one discovery receiver.
type File struct {
	// Receiver is its name: "discovery" or "discovery/x".
	Receiver string
	settings.Settings
	// Pipelines are the kinds of pipelines it is in; Served tells whether there
	// are pipelines at all, else the file is only a part.
	Pipelines spec.Signals
	Served    bool
	// Unset are environment variables without a default that this process lacks.
	Unset []string
}

// Errors about the receiver that was asked for.
var (
	ErrNone = errors.New("has no such receiver")
	ErrMany = errors.New("has several")
)

// Options say what is read.
type Options struct {
	// Paths are files in their order, as the agent's --config takes them.
	Paths []string
	// Receiver is the one that is meant; "" is the only one there is.
	Receiver string
	// LookupEnv is os.LookupEnv; nil is that.
	LookupEnv func(string) (string, bool)
}

// Load reads the files. Its errors name file or key.
func Load(o Options) (File, error) {
	if o.LookupEnv == nil {
		o.LookupEnv = os.LookupEnv
	}
	all := map[string]any{}
	for _, path := range o.Paths {
		one, err := readFile(path)
		if err != nil {
			return File{}, err
		}
		merge(all, one)
	}
	l := loader{expander: expander{lookup: o.LookupEnv}, paths: o.Paths}
	return l.load(all, o.Receiver)
}

// readFile reads one file. file: before the path is the Collector's way to say so.
func readFile(path string) (map[string]any, error) {
	for _, scheme := range []string{"env:", "yaml:"} {
		if strings.HasPrefix(path, scheme) {
			return nil, fmt.Errorf("read %s: is no file, and only files are read", scheme)
		}
	}
	content, err := os.ReadFile(strings.TrimPrefix(path, "file:"))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	var one map[string]any
	if err := yaml.Unmarshal(content, &one); err != nil {
		return nil, fmt.Errorf("read configuration %s: %w", path, err)
	}
	for key, value := range one {
		one[key] = textKeys(value)
	}
	return one, nil
}

// textKeys makes text of every key, as the Collector does: YAML has keys that are
// numbers or null too.
func textKeys(value any) any {
	switch v := value.(type) {
	case []any:
		for i, one := range v {
			v[i] = textKeys(one)
		}
	case map[string]any:
		for key, one := range v {
			v[key] = textKeys(one)
		}
	case map[any]any:
		result := make(map[string]any, len(v))
		for key, one := range v {
			result[fmt.Sprint(key)] = textKeys(one)
		}
		return result
	}
	return value
}

// merge puts from over into, as the Collector merges files: maps key by key, all
// else as a whole.
func merge(into, from map[string]any) {
	for key, value := range from {
		below, isMap := value.(map[string]any)
		old, wasMap := into[key].(map[string]any)
		if isMap && wasMap {
			merge(old, below)
			continue
		}
		into[key] = value
	}
}

// loader reads one receiver out of a merged configuration.
type loader struct {
	expander
	paths []string
}

// topKeys are those that a Collector's configuration has.
var topKeys = []string{"receivers", "processors", "exporters", "connectors", "extensions", "service"}

func (l *loader) load(all map[string]any, want string) (File, error) {
	for key := range all {
		if !slices.Contains(topKeys, key) {
			return File{}, fmt.Errorf("read configuration: has the invalid key %q (it has %s)", key, strings.Join(topKeys, ", "))
		}
	}
	receivers, err := l.section(all, "receivers")
	if err != nil {
		return File{}, err
	}
	name, err := l.choose(receivers, want)
	if err != nil {
		return File{}, err
	}
	f := File{Receiver: name}
	if f.Settings, err = l.settings(name, receivers[name]); err != nil {
		return File{}, err
	}
	if err := l.pipelines(all, &f); err != nil {
		return File{}, err
	}
	f.Unset = l.unset
	return f, nil
}

// section is a part that must be a map, "" parts are none.
func (l *loader) section(in map[string]any, key string) (map[string]any, error) {
	value, err := l.whole(in[key])
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	switch v := value.(type) {
	case nil:
		return nil, nil
	case map[string]any:
		return v, nil
	}
	return nil, fmt.Errorf("read %s: is no map of settings", key)
}

func (l *loader) choose(receivers map[string]any, want string) (string, error) {
	var names []string
	for name := range receivers {
		if typ, _, _ := strings.Cut(name, "/"); strings.TrimSpace(typ) == settings.Type {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	where := "configuration " + strings.Join(l.paths, ", ")
	switch {
	case want != "" && slices.Contains(names, want):
		return want, nil
	case want != "":
		return "", fmt.Errorf("read %s: %w: %s (%s)", where, ErrNone, want, listed(names))
	case len(names) == 0:
		return "", fmt.Errorf("read %s: %w: %s", where, ErrNone, settings.Type)
	case len(names) > 1:
		return "", fmt.Errorf("read %s: %w discovery receivers: %s (name one)", where, ErrMany, strings.Join(names, ", "))
	}
	return names[0], nil
}

func listed(names []string) string {
	if len(names) == 0 {
		return "there is none of type " + settings.Type
	}
	return "there are " + strings.Join(names, ", ")
}

// settings decodes a receiver's part as the Collector would.
func (l *loader) settings(name string, value any) (settings.Settings, error) {
	set := settings.Default()
	where := "receivers::" + name
	value, err := l.receiver(value)
	if err != nil {
		return set, fmt.Errorf("read %s: %w", where, err)
	}
	if value == nil {
		return set, nil
	}
	if _, isMap := value.(map[string]any); !isMap {
		return set, fmt.Errorf("read %s: is no map of settings", where)
	}
	decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result: &set, ErrorUnused: true, ZeroFields: true,
		MatchName:  func(key, field string) bool { return key == field },
		DecodeHook: convert,
	})
	if err != nil {
		return set, fmt.Errorf("read %s: %w", where, err)
	}
	if err := decoder.Decode(value); err != nil {
		return set, fmt.Errorf("read %s: %w", where, l.decodeError(err))
	}
	return set, nil
}

// convert gives a text field the text that stood behind a reference, any other
// field the value, and makes a list of what is separated by commas, as confmap does.
func convert(_, to reflect.Type, data any) (any, error) {
	if e, ok := data.(expanded); ok {
		data = e.value
		if to.Kind() == reflect.String {
			data = e.text
		}
	}
	text, isText := data.(string)
	switch {
	case isText && to == reflect.TypeFor[[]string]():
		return strings.Split(text, ","), nil
	case isText && to == reflect.TypeFor[time.Duration]():
		return time.ParseDuration(text)
	}
	return data, nil
}

// decodeError puts mapstructure's list of mistakes on one line. Where a reference was
// followed, what stands in quotes may be a secret.
func (l *loader) decodeError(err error) error {
	var lines []string
	for line := range strings.Lines(err.Error()) {
		line = strings.TrimSpace(strings.TrimPrefix(line, "* "))
		if line == "" || strings.HasPrefix(line, "decoding failed") {
			continue
		}
		// The outermost struct is called by its Go type, which tells nobody anything.
		line = strings.TrimPrefix(line, "'settings.Settings' ")
		if l.followed {
			line = quoted.ReplaceAllString(line, strconv.Quote(Mask))
		}
		lines = append(lines, line)
	}
	return errors.New(strings.Join(lines, "; "))
}

// quoted is what errors show of a value; keys are in single quotes.
var quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// pipelines notes which kinds of pipelines a receiver is in.
func (l *loader) pipelines(all map[string]any, f *File) error {
	service, err := l.section(all, "service")
	if err != nil {
		return err
	}
	pipelines, err := l.section(service, "pipelines")
	if err != nil {
		return err
	}
	f.Served = len(pipelines) > 0
	for name := range pipelines {
		pipeline, err := l.section(pipelines, name)
		if err != nil {
			return err
		}
		value, err := l.expand(pipeline["receivers"])
		if err != nil {
			return fmt.Errorf("read %s: receivers: %w", name, err)
		}
		receivers, _ := plainOf(value).([]any)
		if !slices.Contains(receivers, any(f.Receiver)) {
			continue
		}
		typ, _, _ := strings.Cut(name, "/")
		if signal, err := spec.ParseSignals([]string{typ}); err == nil {
			f.Pipelines |= signal
		}
	}
	return nil
}

// ruleIndex is the key of a rule in messages.
func ruleIndex(i int) string { return "rules[" + strconv.Itoa(i) + "]" }
