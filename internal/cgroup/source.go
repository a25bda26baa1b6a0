package cgroup

import "bytes"

// source is one file of a cgroup and what it fills.
type source struct {
	mount *mount
	file  string
	part  Part
	// optional is what of part is delivered only if mark stands in the text:
	// older kernels, or accounting switched off, leave the line out.
	optional Part
	mark     []byte
	// slow files change rarely or are dear (memory.stat alone is a third of
	// the cost of a pass) and are read every memory_stat_interval.
	slow bool
	// fallback files are a second choice, read only if an earlier source did
	// not deliver the part in this pass.
	fallback bool
	// first and second are the files of a part that takes two: first alone
	// does not complete it, and second is read only after first succeeded.
	first, second bool
	parse         func(b []byte, s *Sample) error
}

// delivers is the parts that the parsed text b filled.
func (s *source) delivers(b []byte) Part {
	if s.first {
		return 0
	}
	if s.optional != 0 && !bytes.Contains(b, s.mark) {
		return s.part &^ s.optional
	}
	return s.part
}

// from is a source before its mount is known; controller "" is the unified
// mount.
type from struct {
	controller string
	source
}

// chooseSources resolves the tables of v1.go and v2.go against what is
// mounted: every controller is read where it lives.
func (h *Host) chooseSources() []source {
	var out []source
	add := func(table []from, unified bool) {
		for _, f := range table {
			m := h.controllers[f.controller]
			if f.controller == "" {
				m = h.unified
			}
			if m == nil || m.unified != unified {
				continue
			}
			f.mount = m
			out = append(out, f.source)
		}
	}
	add(v2Sources(), true)
	add(v1Sources(), false)
	return out
}
