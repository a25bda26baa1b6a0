package doctor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"unicode"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/procstream"
)

const (
	lockdownFile = "kernel/security/lockdown" // below /sys
	btfFile      = "/sys/kernel/btf/vmlinux"
	// btfMagic starts it, in the kernel's byte order (linux/btf.h).
	btfMagic = 0xeB9F
)

func (o Options) checkLockdown(context.Context) Result {
	path := o.Roots.Sys + "/" + lockdownFile
	b, err := hostfs.ReadFile(path, nil)
	if errors.Is(err, hostfs.ErrGone) {
		err = fmt.Errorf("open %s: %w", path, fs.ErrNotExist)
	}
	if err != nil {
		r := undecided(path+" cannot be read", err)
		r.Meaning = "If the kernel is locked down for confidentiality, no BPF program runs; those below tell by trial."
		r.Remedy = "If they run, nothing. Else: mount -t securityfs securityfs /sys/kernel/security, and run this again."
		return r
	}
	return judgeLockdown(b)
}

func judgeLockdown(b []byte) Result {
	mode, err := parseLockdown(b)
	if err != nil {
		return undecided("not understood", err)
	}
	switch mode {
	case "none":
		return Result{Status: Pass, Found: mode, Meaning: "The kernel restricts nothing by it."}
	case "integrity":
		return Result{Status: Pass, Found: mode, Meaning: "BPF programs that only read, as the agent's do, are allowed."}
	case "confidentiality":
		return Result{
			Status: Fail, Found: mode, Meaning: noStream,
			Remedy: "Boot with lockdown=integrity or lockdown=none on the kernel's command line. Nothing else lifts it.",
		}
	}
	return undecided(mode, fmt.Errorf("lockdown mode %q: %w", mode, errors.ErrUnsupported))
}

var errNoChoice = errors.New("no word in brackets")

// parseLockdown reads the one word in brackets, which is what is in force:
//
//	none [integrity] confidentiality
func parseLockdown(b []byte) (string, error) {
	for word := range strings.FieldsSeq(string(b)) {
		if len(word) > 2 && word[0] == '[' && word[len(word)-1] == ']' {
			return word[1 : len(word)-1], nil
		}
	}
	return "", fmt.Errorf("parse lockdown %q: %w", b, errNoChoice)
}

// checkBTF looks below this process' own /sys, where the types are read when
// programs are loaded. Which distributions have them: the README of libbpf.
func checkBTF(context.Context) Result {
	size, err := readBTF(btfFile)
	switch {
	case err == nil:
		return Result{
			Status: Pass, Found: fmt.Sprintf("%s, %.1f MB", btfFile, float64(size)/1e6),
			Meaning: "BPF programs can be fitted to this kernel.",
		}
	case errors.Is(err, fs.ErrNotExist):
		return Result{
			Status: Fail, Found: btfFile + " is not there", Meaning: noStream,
			Remedy: "Use a kernel built with CONFIG_DEBUG_INFO_BTF: Debian 11, Ubuntu 20.10, Fedora 31, RHEL 8.2 and newer have it. " +
				"In a container /sys must be mounted.",
			Error: err.Error(),
		}
	}
	r := undecided(btfFile+" cannot be used", err)
	r.Meaning = noStream
	return r
}

var errNotBTF = errors.New("it does not start as BTF does")

// readBTF returns the size in bytes of a file of kernel types. It is larger
// than hostfs reads files, and its first bytes are enough.
func readBTF(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	var start [2]byte
	if _, err := io.ReadFull(f, start[:]); err != nil {
		return 0, fmt.Errorf("read %s: %w", path, err)
	}
	if binary.NativeEndian.Uint16(start[:]) != btfMagic {
		return 0, fmt.Errorf("read %s: %w", path, errNotBTF)
	}
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// program says what one BPF program of the process stream is for. Without an
// essential one the agent does not use the stream at all.
type program struct {
	name, use, lost string
	essential       bool
}

const lostEssential = "Without this program the agent does not use the stream at all. " + noStream

var programs = []program{
	{name: "on_attach", use: "Which process is moved into which container.", essential: true},
	{name: "on_exec", use: "What a process runs.", essential: true},
	{name: "on_exit", use: "Exit codes, processor time and peak memory of every process.", essential: true},
	{name: "on_fork", use: "Every process from its start.", essential: true},
	{
		name: "on_mkdir", use: "Every container from its start.",
		lost: "Containers are found by inotify; one that lives milliseconds may be missed.",
	},
	{
		name: "on_oom", use: "OOM victims by name.",
		lost: "OOM victims have a name only if they were seen before.",
	},
	{
		name: "on_rmdir", use: "Memory peak and most tasks of a container at its end.",
		lost: "No memory peak and no most tasks of a container that ends between two passes.",
	},
}

// ringBytes is a page or more on every architecture: what the programs write until
// they are detached again may be lost.
const ringBytes = 64 << 10

// tryPrograms loads and attaches the programs and takes them off again. One
// result for each, also when the kernel refuses all at once.
func (o Options) tryPrograms() []Result {
	memory, err := procstream.HierarchyID(o.Roots, "memory")
	if err != nil {
		return one(undecided("not tried", err))
	}
	pids, err := procstream.HierarchyID(o.Roots, "pids")
	if err != nil {
		return one(undecided("not tried", err))
	}
	stream, err := procstream.OpenStream(procstream.StreamOptions{
		Hierarchy: memory, PidsHierarchy: pids, RingBytes: ringBytes,
		Handle: func(*procstream.Event) {},
	})
	if err != nil {
		return judgePrograms(nil, err)
	}
	defer stream.Close()
	return judgePrograms(stream.Programs(), nil)
}

// judgePrograms has a result for each program that is known here or was tried.
// refusal is set if all were refused together.
func judgePrograms(tried map[string]error, refusal error) []Result {
	all := slices.Clone(programs)
	for _, name := range slices.Sorted(maps.Keys(tried)) {
		if !slices.ContainsFunc(programs, func(p program) bool { return p.name == name }) {
			all = append(all, program{name: name, lost: "What this program tells of is missing."})
		}
	}
	var results []Result
	for _, p := range all {
		err, was := tried[p.name]
		switch {
		case refusal != nil:
			p.essential, err = true, refusal
			p.lost = noStream
		case !was:
			continue // not part of this version's stream
		}
		results = append(results, p.judge(err))
	}
	return results
}

func (p program) id() string { return "bpf.program." + p.name }

func (p program) judge(err error) Result {
	r := Result{Name: p.id(), Title: "BPF program " + p.name}
	if err == nil {
		r.Status, r.Found, r.Meaning = Pass, "loaded, attached and taken off again", p.use
		return r
	}
	r.Status, r.Found, r.Meaning, r.Error = Warn, "refused", p.lost, err.Error()
	if p.essential {
		r.Status = Fail
	}
	if r.Meaning == "" {
		r.Meaning = lostEssential
	}
	var missing *hostfs.NotSupportedError
	if !errors.As(err, &missing) {
		r.Status, r.Found = Unknown, "could not be tried"
		r.Remedy = "Run it again; if it stays, report it with the error."
		return r
	}
	r.Remedy = sentence(missing.Remedy)
	if missing.Err != nil {
		r.Error = missing.Err.Error()
	}
	return r
}

// sentence turns the remedy of an error into one.
func sentence(s string) string {
	if s == "" || strings.HasPrefix(s, "/") {
		return s
	}
	runes := []rune(s)
	runes[0] = unicode.ToUpper(runes[0])
	return strings.TrimSuffix(string(runes), ".") + "."
}
