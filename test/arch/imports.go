package arch

import (
	"fmt"
	"slices"
	"strings"
)

const (
	pdataPath = "go.opentelemetry.io/collector/pdata"
	ebpfPath  = "github.com/cilium/ebpf"
	contrib   = "github.com/open-telemetry/opentelemetry-collector-contrib"
	testkit   = "testkit"

	// control is the command beside the agent, and cobraPath all that it
	// imports from outside the module.
	control   = "tallymanctl"
	cobraPath = "github.com/spf13/cobra"
)

// narrowed lists, for the packages of internal/ whose arrows are spelled out
// in ARCHITECTURE.md, the packages of internal/ that they may import, each with
// what is below it.
var narrowed = map[string][]string{
	"doctor":     {"procstream", "cgroup", "pidfd", "hostfs", "ownthread"},
	"hostview":   {"procstream", "container", "cgroup", "hostfs", "discovery/findings", "discovery/identities", "discovery/target"},
	"procstream": {"bpfload", "container", "hostfs"},
	"container":  {"cgroup", "hostfs"},
	"cgroup":     {"hostfs"},
	"pidfd":      {"hostfs"},
	"ownthread":  {},
	"hostfs":     {},
}

// bare lists the packages of internal/ that need nothing but the kernel:
// outside the module their code may import the standard library and x/sys/unix.
var bare = []string{"container", "cgroup", "hostfs"}

// observability lists what internal/ leaves to the components.
var observability = []string{"go.uber.org/zap", "go.opentelemetry.io", "github.com/open-telemetry"}

// dispensed lists who in internal/ may import which part of it nevertheless.
var dispensed = map[string][]string{
	"recorder": {pdataPath},
	testkit:    {pdataPath, contrib + "/pkg/golden", contrib + "/pkg/pdatatest"},
}

// ebpfOwners lists who in internal/ may load BPF programs.
var ebpfOwners = []string{"bpfload", "procstream", "cgroupiter"}

func checkImports(tree *Tree, report report) {
	for _, file := range tree.handWritten() {
		for _, spec := range file.ast.Imports {
			if reason := tree.refuse(file, importedPath(spec)); reason != "" {
				report(file.Path, tree.line(spec), "%s: %s", importedPath(spec), reason)
			}
		}
	}
}

// refuse returns why file may not import the path, or "".
func (t *Tree) refuse(file *File, importPath string) string {
	if within(importPath, t.Module) {
		target := strings.TrimPrefix(strings.TrimPrefix(importPath, t.Module), "/")
		return refuseOwn(file.place(), target)
	}
	if within(importPath, ebpfPath) {
		return refuseEBPF(file.place())
	}
	switch from := file.place(); {
	case from == place{commandRoom, control}:
		return refuseCommandForeign(file, importPath)
	case from.room == internalRoom:
		return refuseForeign(file, importPath)
	}
	return ""
}

// refuseOwn judges an import of a folder of the module by another place. The
// rule "testkit" judges imports of internal/testkit.
func refuseOwn(from place, folder string) string {
	to := placeOf(folder)
	if from == to || to == (place{internalRoom, testkit}) {
		return ""
	}
	switch from.room {
	case componentRoom:
		if to.room == componentRoom {
			return "components never import each other"
		}
		if to.room != internalRoom {
			return "of this module a component imports internal/* only"
		}
	case commandRoom:
		if from.name == control && to.room != internalRoom {
			return "of this module cmd/tallymanctl imports internal/* only"
		}
	case internalRoom:
		return refuseWithinInternal(from, folder)
	}
	return ""
}

func refuseWithinInternal(from place, folder string) string {
	if placeOf(folder).room != internalRoom {
		return "of this module internal/* imports internal/* only"
	}
	allowed, isNarrowed := narrowed[from.name]
	switch {
	case !isNarrowed || slices.ContainsFunc(allowed, func(name string) bool { return within(folder, "internal/"+name) }):
		return ""
	case len(allowed) == 0:
		return fmt.Sprintf("internal/%s imports nothing of this module", from.name)
	}
	return fmt.Sprintf("of this module internal/%s imports only %s", from.name, strings.Join(allowed, ", "))
}

func refuseEBPF(from place) string {
	if from.room == componentRoom || from.room == internalRoom && slices.Contains(ebpfOwners, from.name) {
		return ""
	}
	return "only components and internal/{" + strings.Join(ebpfOwners, ",") + "} import cilium/ebpf"
}

// refuseForeign judges what a package of internal/ imports from outside.
// Tests of the bare packages may use test libraries.
func refuseForeign(file *File, importPath string) string {
	name := file.place().name
	isBelow := func(base string) bool { return within(importPath, base) }
	if slices.ContainsFunc(observability, isBelow) && !slices.ContainsFunc(dispensed[name], isBelow) {
		return "internal/* leaves OpenTelemetry and logging to the components"
	}
	if slices.Contains(bare, name) && !file.isTest() && !inStandardLibrary(importPath) && importPath != "golang.org/x/sys/unix" {
		return fmt.Sprintf("internal/%s imports the standard library and golang.org/x/sys/unix only", name)
	}
	return ""
}

// refuseCommandForeign keeps what a command finds out in internal/, where it
// can be tested and used by others. Its tests may use test libraries.
func refuseCommandForeign(file *File, importPath string) string {
	if file.isTest() || inStandardLibrary(importPath) || within(importPath, cobraPath) {
		return ""
	}
	return "cmd/" + control + " imports the standard library, internal/* and cobra only"
}

// checkPdata keeps pdata in the one file of a component that is about it.
func checkPdata(tree *Tree, report report) {
	for _, file := range tree.handWritten() {
		if file.place().room != componentRoom || file.isTest() || isEmitFile(file.base()) {
			continue
		}
		for _, spec := range file.ast.Imports {
			if within(importedPath(spec), pdataPath) {
				report(file.Path, tree.line(spec), "%s: only emit.go and emit_*.go of a component touch pdata", importedPath(spec))
			}
		}
	}
}

func isEmitFile(base string) bool {
	return base == "emit.go" || strings.HasPrefix(base, "emit_")
}

// checkTestkit keeps the test kit out of the binaries.
func checkTestkit(tree *Tree, report report) {
	kit := place{internalRoom, testkit}
	for _, file := range tree.handWritten() {
		from := file.place()
		if file.isTest() || from.room == testRoom || from == kit {
			continue
		}
		for _, spec := range file.ast.Imports {
			if within(importedPath(spec), tree.Module+"/internal/"+testkit) {
				report(file.Path, tree.line(spec), "%s: only _test.go files and test/ use it", importedPath(spec))
			}
		}
	}
}
