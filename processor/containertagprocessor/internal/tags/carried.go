package tags

import (
	"encoding/json"
	"net/url"
	"strings"
)

const (
	resourceVariable = "OTEL_RESOURCE_ATTRIBUTES"
	// resourceAnnotation begins annotations that the conventions translate into
	// attributes (semantic-conventions/docs/non-normative/k8s-attributes.md).
	resourceAnnotation = "resource.opentelemetry.io/"
	// The label and the annotations by which Datadog's agent takes tags:
	// ["key:value", ...].
	adTagsLabel      = "com.datadoghq.ad.tags"
	adTagsAnnotation = "ad.datadoghq.com/"
)

// resourceAttributes reads OTEL_RESOURCE_ATTRIBUTES: key=value,key=value, both
// percent-encoded where they hold a comma or an equals sign. As the
// specification asks, the whole text says nothing if a part of it cannot be
// read; only an equals sign in a value is forgiven, as SDKs do. Of two values
// the later one counts, as in SDKs.
func (b *builder) resourceAttributes(text string) map[string]string {
	if text == "" || text == mask {
		return nil
	}
	if len(text) > b.c.maxText {
		b.set.Cut.ValueLength++
		return nil
	}
	found := map[string]string{}
	secrets := 0
	for pair := range strings.SplitSeq(text, ",") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		key, value, ok := parsePair(pair)
		if !ok {
			b.set.Cut.Malformed++
			return nil
		}
		if b.isSecret(key, value, true) {
			secrets++
			continue
		}
		found[key] = value
	}
	b.set.Cut.Secret += secrets
	return found
}

func parsePair(pair string) (key, value string, ok bool) {
	key, value, ok = strings.Cut(pair, "=")
	if !ok {
		return "", "", false
	}
	key, err := url.PathUnescape(strings.TrimSpace(key))
	if err != nil || key == "" {
		return "", "", false
	}
	value, err = url.PathUnescape(strings.TrimSpace(value))
	return key, value, err == nil
}

// addTagLists adds the tags that Datadog's agent would take.
func (b *builder) addTagLists(in *input) {
	b.addTagList(in.get(labels, adTagsLabel))
	if name := in.ref.Container; name != "" {
		b.addTagList(in.get(annotations, adTagsAnnotation+name+".tags"))
	}
	b.addTagList(in.get(annotations, adTagsAnnotation+"tags"))
}

// addTagList reads a JSON list of "key:value". As there, a + before the key
// makes a tag one of the high level. Templates (%%host%%) are not resolved.
func (b *builder) addTagList(text string) {
	if text == "" || text == mask {
		return
	}
	if len(text) > b.c.maxText {
		b.set.Cut.ValueLength++
		return
	}
	var list []string
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		b.set.Cut.Malformed++
		return
	}
	for _, tag := range list {
		key, value, ok := strings.Cut(tag, ":")
		level := b.c.adTags
		if rest, plus := strings.CutPrefix(key, "+"); plus {
			key, level = rest, High
		}
		if !ok || key == "" || strings.Contains(value, "%%") {
			b.set.Cut.Malformed++
			continue
		}
		b.put(item{key: key, value: value, source: key, level: level, claim: true, carried: true})
	}
}
