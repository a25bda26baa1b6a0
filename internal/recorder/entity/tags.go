package entity

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"
	"unique"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

const (
	// maxTags has room for what container_tag adds at most (64), what receivers
	// and applications say themselves, and the host's.
	maxTags = 128
	// maxTagBytes bounds a key and a value; container_tag cuts values at as many.
	maxTagBytes = 1024
)

// tag is one resource attribute.
type tag struct{ key, value string }

// size is the length of its text, in bytes.
func (t tag) size() int64 { return int64(len(t.key) + len(t.value)) }

func byKey(a, b tag) int { return cmp.Compare(a.key, b.key) }

// tagSet is sorted by key, and never changed once it is somebody's. All but a
// few tags of an incarnation (its name, its number) are those of many others: a
// handle of 8 bytes instead of 60 bytes of text.
type tagSet []unique.Handle[tag]

// find is where the key is, or belongs.
func (s tagSet) find(key string) (int, bool) {
	return slices.BinarySearchFunc(s, key, func(h unique.Handle[tag], key string) int {
		return cmp.Compare(h.Value().key, key)
	})
}

func (s tagSet) get(key string) (string, bool) {
	i, ok := s.find(key)
	if !ok {
		return "", false
	}
	return s[i].Value().value, true
}

// merged adds what was found, which is sorted by key, as long as there is room. What is
// there already is replaced only with override. It returns s itself if that changes
// nothing.
func (s tagSet) merged(found []tag, override bool) (result tagSet, dropped int) {
	var out tagSet // nil until something differs
	size, limit := s.size(), int64(maxOthersBytes)
	if override {
		limit = maxRunBytes
	}
	for _, f := range found {
		at := s
		if out != nil {
			at = out
		}
		i, ok := at.find(f.key)
		more := f.size()
		if ok {
			more -= at[i].Value().size()
		}
		switch {
		case ok && (!override || at[i].Value().value == f.value):
			continue
		case !ok && len(at) >= maxTags, more > 0 && size+more > limit:
			dropped++
			continue
		case out == nil:
			out = slices.Grow(slices.Clone(s), len(found))
		}
		size += more
		if ok {
			out[i] = unique.Make(f)
		} else {
			out = slices.Insert(out, i, unique.Make(f))
		}
	}
	if out == nil {
		return s, dropped
	}
	return slices.Clip(out), dropped
}

// size is the length of all text, in bytes.
func (s tagSet) size() int64 {
	var n int64
	for _, h := range s {
		n += h.Value().size()
	}
	return n
}

func (s tagSet) without(key string) tagSet {
	i, ok := s.find(key)
	if !ok {
		return s
	}
	return slices.Delete(slices.Clone(s), i, i+1)
}

// contain tells whether any tag has the text in it, which is in lower case.
func (s tagSet) contain(text string) bool {
	return slices.ContainsFunc(s, func(h unique.Handle[tag]) bool {
		t := h.Value()
		return strings.Contains(strings.ToLower(t.key+"="+t.value), text)
	})
}

func (s tagSet) asMap() map[string]string {
	m := make(map[string]string, len(s))
	for _, h := range s {
		t := h.Value()
		m[t.key] = t.value
	}
	return m
}

// tagsOf sorts and bounds what was read from a file.
func tagsOf(m map[string]string) []tag {
	all := make([]tag, 0, len(m))
	for key, value := range m {
		if isKey(key) {
			all = append(all, tag{key, cut(value)})
		}
	}
	slices.SortFunc(all, byKey)
	return all
}

// attributeTags are the tags that resource attributes make.
func attributeTags(attributes pcommon.Map) []tag {
	all := make([]tag, 0, attributes.Len())
	attributes.Range(func(key string, v pcommon.Value) bool {
		if value := textOf(v); value != "" && isKey(key) {
			all = append(all, tag{key, cut(value)})
		}
		return true
	})
	slices.SortStableFunc(all, byKey)
	return slices.CompactFunc(all, func(a, b tag) bool { return a.key == b.key })
}

func isKey(key string) bool {
	return key != "" && key != containerID && len(key) <= maxTagBytes && utf8.ValidString(key)
}

// textOf writes a list as people do: one, two.
func textOf(v pcommon.Value) string {
	if v.Type() != pcommon.ValueTypeSlice {
		return v.AsString()
	}
	var words []string
	for i := range v.Slice().Len() {
		words = append(words, v.Slice().At(i).AsString())
	}
	return strings.Join(words, ", ")
}

// cut shortens a text to at most maxTagBytes of valid UTF-8.
func cut(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= maxTagBytes {
		return text
	}
	end := maxTagBytes
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}
