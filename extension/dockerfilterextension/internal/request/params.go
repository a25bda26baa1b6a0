package request

import "strings"

// param is one parameter that an operation knows.
type param struct {
	name string
	kind paramKind
}

// paramKind is the type of a parameter.
type paramKind uint8

const (
	boolean paramKind = iota
	limit             // how many, -1 for all
	timestamp
	tail // how many lines, or all
	scope
	filters
	diskObjects // may be given several times
	sizes       // boolean; sets NeedsSizes
	costly      // boolean; true is refused
	hidden      // boolean; true would show what we redact, and is refused
	pinned      // refused; the upstream request has a value of ours
)

// psArgs is what top shows of a process: no arguments, no environment.
const psArgs = "-eo pid,ppid,uid,comm"

// value returns the canonical text of a parameter. An empty result drops it:
// it is what the engine assumes without it.
func (p param) value(text string) (string, *Refusal) {
	switch p.kind {
	case pinned:
		return "", badQuery(ReasonQuery, "parameter %s is not allowed on this socket", p.name)
	case boolean, sizes, costly, hidden:
		return p.flag(text)
	}
	if text == "" || isValue(p.kind, text) {
		return text, nil
	}
	return "", p.wrong(text)
}

// flag reads a boolean in the forms that clients send. The engine takes any
// other text for true.
func (p param) flag(text string) (string, *Refusal) {
	on := text == "1" || strings.EqualFold(text, "true")
	off := text == "0" || strings.EqualFold(text, "false")
	switch {
	case !on && !off:
		return "", p.wrong(text)
	case on && p.kind == costly:
		return "", badQuery(ReasonCost, "parameter %s costs the engine too much and is not allowed on this socket", p.name)
	case on && p.kind == hidden:
		return "", badQuery(ReasonQuery, "parameter %s is not allowed on this socket", p.name)
	case on:
		return "1", nil
	case p.kind == boolean:
		return "0", nil // not dropped: stream is true without it
	}
	return "", nil
}

func (p param) wrong(text string) *Refusal {
	return badQuery(ReasonQuery, "parameter %s has the wrong form: %s", p.name, quote(text))
}

func isValue(kind paramKind, text string) bool {
	switch kind {
	case limit:
		return text == "-1" || isDecimal(text)
	case tail:
		return text == "all" || text == "-1" || isDecimal(text)
	case timestamp:
		return isTimestamp(text)
	case scope:
		return text == "local" || text == "global" || text == "swarm"
	case diskObjects:
		return text == "container" || text == "image" || text == "volume" || text == "build-cache"
	}
	return false
}

// isTimestamp accepts seconds since 1970 with up to nine decimals. Clients
// turn durations and dates into that before they send them.
func isTimestamp(text string) bool {
	const maxDecimals = 9
	seconds, decimals, hasDecimals := strings.Cut(text, ".")
	if !isDecimal(seconds) {
		return false
	}
	if !hasDecimals {
		return true
	}
	return decimals != "" && len(decimals) <= maxDecimals && strings.Trim(decimals, "0123456789") == ""
}
