package statictags

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

const (
	// maxTags is what a host needs several times over. Each goes onto every
	// resource that leaves it.
	maxTags = 64
	// maxKey and maxValue are in bytes.
	maxKey   = 256
	maxValue = 1 << 10
	// maxFile is in bytes: 64 entries of usual length with room for comments.
	maxFile = 64 << 10
)

var (
	errCount    = errors.New("more than 64 tags")
	errKey      = errors.New("not 1 to 256 bytes of printable text")
	errIdentity = errors.New("it says which container data is of, and the tags of a host are on all of it " +
		"(container.*, k8s.pod.*, k8s.container.*, linux.cgroup.*, process.pid)")
	errValue     = errors.New("not UTF-8 text of at most 1 KiB")
	errDuplicate = errors.New("a second time")
	errMap       = errors.New("not a map of words and values")
	errScalar    = errors.New("neither text, number nor truth value")
	errDocuments = errors.New("more than one document")
)

// Validate returns what is wrong with tags, nil if nothing is.
func Validate(tags map[string]string) error {
	if len(tags) > maxTags {
		return fmt.Errorf("%w: %d", errCount, len(tags))
	}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		if err := check(key, tags[key]); err != nil {
			return err
		}
	}
	return nil
}

func check(key, value string) error {
	if key == "" || len(key) > maxKey || !utf8.ValidString(key) || strings.ContainsFunc(key, isUnprintable) {
		return fmt.Errorf("tag %.64q: the name: %w", key, errKey)
	}
	if isIdentity(key) {
		return fmt.Errorf("tag %.64q: the name: %w", key, errIdentity)
	}
	if len(value) > maxValue || !utf8.ValidString(value) {
		return fmt.Errorf("tag %.64q: the value: %w", key, errValue)
	}
	return nil
}

// isIdentity tells of attributes by which data is recognised as of a container
// or pod, here or by the next agent, and of others that describe just one.
// service.name is not among them: it may be the same on a whole host, and the
// containers' own comes first.
func isIdentity(key string) bool {
	if key == "process.pid" {
		return true
	}
	for _, begin := range []string{"container.", "k8s.pod.", "k8s.container.", "linux.cgroup."} {
		if strings.HasPrefix(key, begin) {
			return true
		}
	}
	return false
}

func isUnprintable(r rune) bool { return !unicode.IsPrint(r) }

// parse reads the file's YAML. It works on the document's nodes, which hold
// scalars as they are written, and follows no alias, so that a small file stays
// small.
func parse(content []byte) (map[string]string, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var document yaml.Node
	err := decoder.Decode(&document)
	if errors.Is(err, io.EOF) {
		return nil, nil // empty, or comments only
	}
	if err != nil {
		return nil, err
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errDocuments
	}
	root := document.Content[0]
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return nil, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: %w", root.Line, errMap)
	}
	return parseMap(root.Content)
}

// parseMap takes keys and values in turn.
func parseMap(nodes []*yaml.Node) (map[string]string, error) {
	tags := make(map[string]string)
	for pair := range slices.Chunk(nodes, 2) {
		key, value := pair[0], pair[1]
		if !isScalar(key) {
			return nil, fmt.Errorf("line %d: the name: %w", key.Line, errScalar)
		}
		if !isScalar(value) {
			return nil, fmt.Errorf("line %d: the value of %.64q: %w", value.Line, key.Value, errScalar)
		}
		if err := check(key.Value, value.Value); err != nil {
			return nil, fmt.Errorf("line %d: %w", key.Line, err)
		}
		if _, isThere := tags[key.Value]; isThere {
			return nil, fmt.Errorf("line %d: tag %.64q: %w", key.Line, key.Value, errDuplicate)
		}
		tags[key.Value] = value.Value
	}
	if len(tags) > maxTags {
		return nil, fmt.Errorf("%w: %d", errCount, len(tags))
	}
	return tags, nil
}

func isScalar(node *yaml.Node) bool {
	if node.Kind != yaml.ScalarNode {
		return false
	}
	switch node.ShortTag() {
	case "!!str", "!!int", "!!float", "!!bool", "!!timestamp":
		return true
	}
	return false
}
