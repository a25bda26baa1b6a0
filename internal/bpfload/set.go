package bpfload

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
)

// Set is what could be loaded of one object.
type Set struct {
	// Programs are the programs of the object, by name, with why one could
	// not be loaded or attached; nil if it runs.
	Programs map[string]error

	maps  map[string]*ebpf.Map
	progs map[string]*ebpf.Program
	links []link.Link
	types *btf.Spec // the kernel's, while programs are loaded
}

// Load makes the maps of an object and loads and attaches each of its
// programs. It gives an error only if not one of them runs; what became of
// each is in the set. Close it.
func Load(spec *ebpf.CollectionSpec) (*Set, error) {
	// Kernels before 5.11 count maps as locked memory. Where the limit cannot
	// be lifted, making the maps will say so.
	_ = rlimit.RemoveMemlock()
	s := &Set{Programs: map[string]error{}, progs: map[string]*ebpf.Program{}}
	names := slices.Sorted(maps.Keys(spec.Programs))
	if err := s.makeMaps(spec); err != nil {
		return nil, explain("maps", err)
	}
	// Read once for all programs; nil, without BTF, leaves it to each of them
	// to do without or say so.
	s.types, _ = btf.LoadKernelSpec()
	defer func() { s.types = nil }()
	for _, name := range names {
		err := s.start(spec, name)
		if err != nil {
			err = explain(name, err)
		}
		s.Programs[name] = err
	}
	if len(s.progs) == 0 {
		err := s.firstError(names)
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Set) firstError(names []string) error {
	for _, name := range names {
		if err := s.Programs[name]; err != nil {
			return err
		}
	}
	return errors.New("load BPF object: it has no programs")
}

func (s *Set) makeMaps(spec *ebpf.CollectionSpec) error {
	without := spec.Copy()
	without.Programs = nil
	collection, err := ebpf.NewCollection(without)
	if err != nil {
		return err
	}
	s.maps = collection.Maps
	return nil
}

// start loads one program, which uses the maps that are there, and attaches
// it.
func (s *Set) start(spec *ebpf.CollectionSpec, name string) error {
	one := spec.Copy()
	one.Programs = map[string]*ebpf.ProgramSpec{name: one.Programs[name]}
	collection, err := ebpf.NewCollectionWithOptions(one, ebpf.CollectionOptions{
		MapReplacements: s.maps,
		Programs:        ebpf.ProgramOptions{KernelTypes: s.types},
	})
	if err != nil {
		return err
	}
	program := collection.DetachProgram(name)
	collection.Close()
	attached, err := attach(program, spec.Programs[name].AttachTo)
	if err != nil {
		_ = program.Close()
		return err
	}
	s.progs[name] = program
	s.links = append(s.links, attached)
	return nil
}

func attach(program *ebpf.Program, to string) (link.Link, error) {
	switch program.Type() {
	case ebpf.Tracing:
		return link.AttachTracing(link.TracingOptions{Program: program})
	case ebpf.RawTracepoint:
		return link.AttachRawTracepoint(link.RawTracepointOptions{Name: to, Program: program})
	}
	return nil, fmt.Errorf("attach program of type %v: %w", program.Type(), errors.ErrUnsupported)
}

// Map returns a map by its name in the object; nil if there is none.
func (s *Set) Map(name string) *ebpf.Map { return s.maps[name] }

// Runs reports whether a program is loaded and attached.
func (s *Set) Runs(name string) bool { return s.progs[name] != nil }

// Drops adds up a per-CPU array of counters.
func (s *Set) Drops(name string) ([]uint64, error) {
	m := s.maps[name]
	counts := make([]uint64, m.MaxEntries())
	for i := range counts {
		var each []uint64
		if err := m.Lookup(uint32(i), &each); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		for _, n := range each {
			counts[i] += n
		}
	}
	return counts, nil
}

// Close detaches the programs and gives everything back.
func (s *Set) Close() {
	for _, l := range s.links {
		_ = l.Close()
	}
	for _, p := range s.progs {
		_ = p.Close()
	}
	for _, m := range s.maps {
		_ = m.Close()
	}
	s.links, s.progs, s.maps = nil, nil, nil
}

// KernelTime is how often the programs ran and how long in all, as far as the
// kernel's statistics (ebpf.EnableStats) were on.
func (s *Set) KernelTime() (runs uint64, spent time.Duration) {
	for _, p := range s.progs {
		if stats, err := p.Stats(); err == nil {
			runs += stats.RunCount
			spent += stats.Runtime
		}
	}
	return runs, spent
}
