package tags

import (
	"iter"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tallymanhq/tallyman/internal/secret"
)

const (
	// containerID is what receivers set, and nobody else may.
	containerID = "container.id"
	// mask is what docker_filter writes in place of a value.
	mask = "***"
	// longestKey is in bytes: the longest key that Kubernetes allows (a prefix
	// of 253, a slash, a name of 63) with the longest prefix of ours.
	longestKey = 253 + 1 + 63 + len("process.environment_variable.")
	// secretOverlap is how many bytes after the cap are searched for secrets, too.
	// A password is recognised by the @ after it, up to 1 KiB from the :// before
	// (package secret), and a web token by the dot after its header.
	secretOverlap = 2048
	// mostElements bounds an array. No image has that many tags that matter, and
	// no container is in that many networks.
	mostElements = 64
)

// Attribute is a key with a string or, where Values is not nil, strings.
type Attribute struct {
	Key    string
	Value  string
	Values []string
	// Carried: only the application says so, under a key of its own choice
	// (OTEL_RESOURCE_ATTRIBUTES, annotations, Datadog's tags), so what the
	// operator says under the same key shall win.
	Carried bool
}

// Set is what was found. It must not be changed: it is shared.
type Set struct {
	// Attributes are sorted by key, and no key is there twice.
	Attributes []Attribute
	Cut        Cut
}

// Cut counts what was left out, by reason.
type Cut struct {
	// ValueLength counts values and arrays that were cut, and lists of attributes
	// (OTEL_RESOURCE_ATTRIBUTES, Datadog's tags) that are too long to be read.
	ValueLength int
	// AttributeCount counts attributes beyond the cap.
	AttributeCount int
	// InvalidUTF8 counts values with bytes that are no character, which U+FFFD
	// has replaced, or NUL characters, which were removed.
	InvalidUTF8 int
	// Secret counts values that were withheld.
	Secret int
	// Malformed counts lists of attributes and their members that say nothing,
	// and keys of more than 346 bytes or of container.id.
	Malformed int
	// Reserved counts attributes that an application carries with it and that
	// are not its to set, such as host.name.
	Reserved int
}

// All yields each reason, in the spelling of the metric, with its count.
func (c Cut) All() iter.Seq2[string, int] {
	return func(yield func(string, int) bool) {
		_ = yield("value_length", c.ValueLength) && yield("attribute_count", c.AttributeCount) &&
			yield("invalid_utf8", c.InvalidUTF8) && yield("secret", c.Secret) && yield("malformed", c.Malformed) &&
			yield("reserved", c.Reserved)
	}
}

// builder fills a Set.
type builder struct {
	c   *Compiler
	set Set
}

// item is an attribute on its way in.
type item struct {
	key, value string
	source     string // the key by which it was found, if somebody made that up
	level      Level
	claim      bool // somebody wrote it freely, so it must not look like a secret
	empty      bool // it counts also when it is empty
	exact      bool // the operator has named the source, letter by letter
	carried    bool // only the application says so, by a key of its own choice
}

// put adds an attribute. It returns false when there is nothing to add, so that
// the next origin may be asked.
func (b *builder) put(it item) bool {
	if it.level > b.c.level {
		return true
	}
	if it.value == "" && !it.empty || it.value == mask {
		return false
	}
	key, ok := cleanKey(it.key)
	if !ok {
		b.set.Cut.Malformed++
		return false
	}
	at, found := b.search(key)
	if found {
		return true
	}
	if it.carried && isReserved(key) {
		b.set.Cut.Reserved++
		return false
	}
	if isSecretKey(it, key) {
		b.set.Cut.Secret++
		return false
	}
	value, ok := b.value(it)
	if !ok {
		return false
	}
	if b.full() {
		b.set.Cut.AttributeCount++
		return true
	}
	b.set.Attributes = slices.Insert(b.set.Attributes, at, Attribute{Key: key, Value: value, Carried: it.carried})
	return true
}

// isSecretKey tells whether a key announces a secret. Who has named a key letter
// by letter knows what auth or session stands for there; a pattern does not.
func isSecretKey(it item, key string) bool {
	if it.source == "" {
		return false
	}
	announces := secret.SensitiveName
	if it.exact {
		announces = secret.Name
	}
	return announces(it.source) || announces(key) || secret.Likely([]byte(key))
}

// putList adds an array of facts, without what is secret or empty.
func (b *builder) putList(key string, list []string) bool {
	at, found := b.search(key)
	if found {
		return true
	}
	if len(list) > mostElements {
		list = list[:mostElements]
		b.set.Cut.ValueLength++
	}
	var values []string
	for _, element := range list {
		if value, ok := b.value(item{key: key, value: element}); ok && value != "" {
			values = append(values, value)
		}
	}
	if values == nil {
		return false
	}
	if b.full() {
		b.set.Cut.AttributeCount++
		return true
	}
	b.set.Attributes = slices.Insert(b.set.Attributes, at, Attribute{Key: key, Values: values})
	return true
}

func (b *builder) search(key string) (int, bool) {
	return slices.BinarySearchFunc(b.set.Attributes, key, func(a Attribute, key string) int {
		return strings.Compare(a.Key, key)
	})
}

func (b *builder) full() bool { return len(b.set.Attributes) >= b.c.max }

// value cleans and cuts a value. It returns false if nothing of it may get out.
func (b *builder) value(it item) (string, bool) {
	text := cut(it.value, b.c.maxValue+secretOverlap)
	text, changed := clean(text)
	// Cleaning can only join what was apart, so it comes before the search.
	if b.isSecret(it.key, text, it.claim) {
		b.set.Cut.Secret++
		return "", false
	}
	if changed {
		b.set.Cut.InvalidUTF8++
	}
	if len(text) > b.c.maxValue {
		b.set.Cut.ValueLength++
		// A copy, or a label of megabytes would live on behind a short value.
		text = strings.Clone(cut(text, b.c.maxValue))
	}
	return text, text != mask && (text != "" || it.empty)
}

// isSecret judges a value: facts (what an engine or orchestrator has named) by
// what is certain, claims by what is likely, but for numbers under keys where
// the conventions expect one.
func (b *builder) isSecret(key, value string, claim bool) bool {
	if !claim {
		return secret.Certain([]byte(value))
	}
	return secret.Likely([]byte(value)) && !(b.isNumber(key) && isHex(value))
}

// isNumber tells whether an attribute holds a number that only looks random.
func (b *builder) isNumber(key string) bool {
	if r, ok := b.c.rows[key]; ok && r.number {
		return true
	}
	switch key {
	case "service.instance.id", "host.id", "host.image.id", "oci.manifest.digest":
		return true
	}
	return strings.HasPrefix(key, "k8s.") && strings.HasSuffix(key, ".uid")
}

// isHex tells of hexadecimal numbers up to the length of a SHA-256 digest.
func isHex(text string) bool {
	for _, c := range []byte(text) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return len(text) <= 64
}

// cleanKey returns the key of an attribute that somebody has made up, and
// whether it can be one.
func cleanKey(key string) (string, bool) {
	if len(key) > longestKey {
		return "", false
	}
	key, _ = clean(key)
	return key, key != "" && key != containerID && len(key) <= longestKey
}

// clean makes text valid UTF-8 without NUL, which some stores cannot hold.
func clean(text string) (cleaned string, changed bool) {
	if utf8.ValidString(text) && strings.IndexByte(text, 0) < 0 {
		return text, false
	}
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", ""), true
}

// cut returns at most n bytes of text, and no part of a character.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for back := 1; back < utf8.UTFMax && n > 0 && !utf8.RuneStart(text[n]); back++ {
		n--
	}
	return text[:n]
}
