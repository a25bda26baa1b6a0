package dogstatsd

import (
	"bytes"
	"iter"
)

// Tag is one tag. Its slices point into the text that it was cut from.
type Tag struct {
	// Key is the text before the first colon. A tag without a colon, or with
	// nothing before it, is all key, so that no key is empty.
	Key []byte
	// Value is the text behind that colon.
	Value []byte
	// Pseudo says that the tag is an instruction and not a tag.
	Pseudo Pseudo
}

// Pseudo is what a tag instructs to do.
type Pseudo uint8

// The pseudo-tags, to be obeyed and removed.
const (
	// NotPseudo is an ordinary tag.
	NotPseudo Pseudo = iota
	// PseudoEntity is dd.internal.entity_id: its value is the uid of the sender's
	// pod, or "none" for no look-up.
	PseudoEntity
	// PseudoCardinality is dd.internal.card: its value is for [ParseCardinality],
	// unless the line has a card: field.
	PseudoCardinality
	// PseudoHost is host: its value overrides the host.
	PseudoHost
)

// Tags splits the text behind # at its commas. Empty tags are left out.
func Tags(raw []byte) iter.Seq[Tag] {
	return func(yield func(Tag) bool) { eachTag(raw, yield) }
}

func eachTag(raw []byte, yield func(Tag) bool) {
	for len(raw) > 0 {
		text := raw
		if comma := bytes.IndexByte(raw, ','); comma >= 0 {
			text, raw = raw[:comma], raw[comma+1:]
		} else {
			raw = nil
		}
		if len(text) > 0 && !yield(tagOf(text)) {
			return
		}
	}
}

func tagOf(text []byte) Tag {
	colon := bytes.IndexByte(text, ':')
	if colon <= 0 {
		return Tag{Key: text}
	}
	tag := Tag{Key: text[:colon], Value: text[colon+1:]}
	switch string(tag.Key) {
	case "dd.internal.entity_id":
		tag.Pseudo = PseudoEntity
	case "dd.internal.card":
		tag.Pseudo = PseudoCardinality
	case "host":
		tag.Pseudo = PseudoHost
	}
	return tag
}
