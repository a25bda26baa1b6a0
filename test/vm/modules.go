package main

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tallymanhq/tallyman/test/vm/machine"
)

// moduleSet copies modules of one kernel into the guest, dependencies first.
type moduleSet struct {
	files   map[string]string // module name -> file in the kernel package
	builtin map[string]bool   // modules the kernel image holds
	dir     string            // folder to copy to
	order   []string          // file names in dir, in the order to insert them
}

// openModules indexes the modules of img.
func openModules(img machine.Image, dir string) (*moduleSet, error) {
	list, err := os.ReadFile(filepath.Join(img.Modules, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	s := &moduleSet{files: map[string]string{}, builtin: map[string]bool{}, dir: dir}
	for line := range strings.Lines(string(list)) {
		s.builtin[moduleName(strings.TrimSpace(line))] = true
	}
	err = filepath.WalkDir(img.Modules, func(file string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.Contains(d.Name(), ".ko") {
			s.files[moduleName(file)] = file
		}
		return err
	})
	return s, err
}

// moduleName returns the kernel's name for a module file: file names may have dashes and end in .ko or .ko.xz.
func moduleName(file string) string {
	base, _, _ := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(base, "-", "_")
}

// add copies the module called name and what it depends on.
func (s *moduleSet) add(ctx context.Context, name string) error {
	name = moduleName(name)
	target := name + ".ko"
	if s.builtin[name] || slices.Contains(s.order, target) {
		return nil
	}
	file, ok := s.files[name]
	if !ok {
		return fmt.Errorf("find kernel module %s: %w", name, fs.ErrNotExist)
	}
	copied := filepath.Join(s.dir, target)
	err := unpackModule(ctx, file, copied)
	if err != nil {
		return err
	}
	needs, err := dependencies(copied)
	if err != nil {
		return err
	}
	for _, need := range needs {
		err = s.add(ctx, need)
		if err != nil {
			return fmt.Errorf("add what %s needs: %w", name, err)
		}
	}
	s.order = append(s.order, target)
	return nil
}

// unpackModule copies a module and takes its compression off, which kernels before 5.17 cannot do themselves.
func unpackModule(ctx context.Context, file, target string) error {
	if !strings.HasSuffix(file, ".xz") {
		return machine.CopyFile(file, target, 0o644)
	}
	err := machine.CopyFile(file, target+".xz", 0o644)
	if err != nil {
		return err
	}
	return machine.Command(ctx, filepath.Dir(target), "busybox", "unxz", target+".xz")
}

// dependencies returns the names a module file itself says it needs.
func dependencies(file string) ([]string, error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, fmt.Errorf("open module %s: %w", file, err)
	}
	defer f.Close()
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("read module %s: %w", file, errors.New("no .modinfo section"))
	}
	info, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("read module %s: %w", file, err)
	}
	return parseDepends(info), nil
}

// parseDepends takes the .modinfo section: NUL-terminated key=value strings, of which depends= holds a comma list.
func parseDepends(info []byte) []string {
	for field := range bytes.SplitSeq(info, []byte{0}) {
		list, ok := bytes.CutPrefix(field, []byte("depends="))
		if !ok || len(list) == 0 {
			continue
		}
		return strings.Split(string(list), ",")
	}
	return nil
}
