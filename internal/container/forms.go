package container

import "strings"

// match is what one directory name, seen with the names above it, says.
type match struct {
	class   Class
	runtime string
	id      string
	task    string
	// ownsParent: the directory above is this one's own unit.
	ownsParent bool
}

// idLen is the length of the ids of OCI engines: 32 random bytes in hex.
const idLen = 64

// formTable holds the recognisers in order: monitors before the generic
// prefixes, podman's pods before bare ids.
var formTable = [...]func(component) (match, bool){
	monitorForm, prefixForm, colonForm, podForm, bareForm, lxcForm, machineForm, otherForm,
}

// recognise tells what c is, independent of everything below it. That makes
// the walk from the leaf upwards find the innermost container.
func recognise(c component) (match, bool) {
	if strings.HasSuffix(c.name(), ".mount") {
		return match{}, false
	}
	for _, form := range formTable {
		if m, ok := form(c); ok {
			return m, true
		}
	}
	return match{}, false
}

// conmonTable: conmon's unit carries the id of the container it watches.
var conmonTable = [...]struct{ prefix, runtime string }{
	{"crio-conmon-", runtimeCRIO},
	{"libpod-conmon-", runtimePodman},
}

// monitorForm knows the helpers that live beside a container.
func monitorForm(c component) (match, bool) {
	name, parent := c.name(), c.parent()
	for _, row := range conmonTable {
		if id, ok := strings.CutPrefix(strings.TrimSuffix(name, ".scope"), row.prefix); ok && isID(id) {
			return match{class: ClassMonitor, runtime: row.runtime}, true
		}
	}
	if name == "conmon" && (parent == podmanParent || isPodmanPod(c)) {
		return match{class: ClassMonitor, runtime: runtimePodman}, true
	}
	if n, ok := strings.CutPrefix(name, "lxc.monitor."); ok && isName(n) || parent == "lxc.monitor" && isName(name) {
		return match{class: ClassMonitor, runtime: runtimeLXC}, true
	}
	if name == "supervisor" {
		if m, ok := machineName(parent); ok && m.runtime == runtimeNspawn {
			return match{class: ClassMonitor, runtime: runtimeNspawn, ownsParent: true}, true
		}
	}
	return match{}, false
}

// podmanParent is where podman's cgroupfs manager puts everything.
const podmanParent = "libpod_parent"

// isPodmanPod reports whether c lies directly in the directory of a pod made
// by podman's cgroupfs manager.
func isPodmanPod(c component) bool {
	above, ok := c.up()
	return ok && isID(above.name()) && above.parent() == podmanParent
}

// prefixTable maps the prefix of a scope (and the middle of the colon form) to
// the runtime. libpod-payload comes before libpod.
var prefixTable = [...]struct{ prefix, runtime string }{
	{"docker", runtimeDocker},
	{"cri-containerd", runtimeContainerd},
	{"crio", runtimeCRIO},
	{"libpod-payload", runtimePodman},
	{"libpod", runtimePodman},
	{"nerdctl", runtimeContainerd},
}

// prefixForm knows PREFIX-ID and PREFIX-ID.scope.
func prefixForm(c component) (match, bool) {
	name, scope := strings.CutSuffix(c.name(), ".scope")
	if len(name) <= idLen || !isID(name[len(name)-idLen:]) {
		return match{}, false
	}
	prefix, id := name[:len(name)-idLen], name[len(name)-idLen:]
	for _, row := range prefixTable {
		if len(prefix) != len(row.prefix)+1 || prefix[:len(row.prefix)] != row.prefix || prefix[len(row.prefix)] != '-' {
			continue
		}
		m := match{class: ClassContainer, runtime: row.runtime, id: id}
		if row.runtime == runtimeCRIO && !scope && strings.HasSuffix(c.parent(), ".slice") {
			// CRI-O makes the infra container's directory itself, so on the
			// systemd driver it is the one that is no unit.
			m.class = ClassSandbox
		}
		return m, true
	}
	return match{}, false
}

// colonForm knows SLICE:PREFIX:ID, what a cgroupfs runtime makes of a path
// that was written for the systemd driver.
func colonForm(c component) (match, bool) {
	_, middle, id, ok := cutColons(c.name())
	if !ok || !isID(id) {
		return match{}, false
	}
	for _, row := range prefixTable {
		if middle == row.prefix {
			return match{class: ClassContainer, runtime: row.runtime, id: id}, true
		}
	}
	return match{}, false
}

func cutColons(name string) (slice, middle, id string, ok bool) {
	slice, rest, ok := strings.Cut(name, ":")
	if !ok {
		return "", "", "", false
	}
	middle, id, ok = strings.Cut(rest, ":")
	return slice, middle, id, ok
}

// podForm knows the directories of Kubernetes' and podman's pods.
func podForm(c component) (match, bool) {
	name := c.name()
	if uid, _ := podUID(name); uid != "" && !strings.Contains(name, ":") {
		return match{class: ClassPod}, true
	}
	if isID(name) && c.parent() == podmanParent {
		return match{class: ClassPod, runtime: runtimePodman}, true
	}
	stem, ok := strings.CutSuffix(name, ".slice")
	if !ok || len(stem) <= idLen || !isID(stem[len(stem)-idLen:]) {
		return match{}, false
	}
	if stem = stem[:len(stem)-idLen]; stem == "libpod_pod_" || strings.HasSuffix(stem, "-libpod_pod_") {
		return match{class: ClassPod, runtime: runtimePodman}, true
	}
	return match{}, false
}

// bareForm knows directories that are named by the id alone; who made them is
// told by the directory above, if at all.
func bareForm(c component) (match, bool) {
	if !isID(c.name()) {
		return match{}, false
	}
	m := match{class: ClassContainer, id: c.name()}
	switch parent := c.parent(); {
	case parent == "docker" || parent == "actions_job":
		m.runtime = runtimeDocker
	case containerdNamespace(parent):
		m.runtime = runtimeContainerd
	case c.below(isECS):
		m.runtime = runtimeDocker
	}
	return m, true
}

// lxcForm knows LXC up to 3 and LXD (/lxc/NAME), LXC 3.1 (/lxc.payload/NAME)
// and later (/lxc.payload.NAME).
func lxcForm(c component) (match, bool) {
	name := c.name()
	if n, ok := strings.CutPrefix(name, "lxc.payload."); ok && isName(n) {
		return match{class: ClassContainer, runtime: runtimeLXC, id: n}, true
	}
	if parent := c.parent(); (parent == "lxc" || parent == "lxc.payload") && isName(name) {
		return match{class: ClassContainer, runtime: runtimeLXC, id: name}, true
	}
	return match{}, false
}

// machineForm knows what registers with systemd-machined.
func machineForm(c component) (match, bool) { return machineName(c.name()) }

func machineName(name string) (match, bool) {
	if n, ok := strings.CutPrefix(name, "systemd-nspawn@"); ok {
		n, ok = strings.CutSuffix(n, ".service")
		n = unescape(n)
		return match{class: ClassContainer, runtime: runtimeNspawn, id: n}, ok && n != ""
	}
	n, ok := strings.CutPrefix(name, "machine-")
	if !ok {
		return match{}, false
	}
	if n, ok = strings.CutSuffix(n, ".scope"); !ok || n == "" {
		return match{}, false
	}
	n = unescape(n)
	if m, isLibvirt := libvirtName(n); isLibvirt {
		return m, true
	}
	return match{class: ClassContainer, runtime: runtimeNspawn, id: n}, true
}

// libvirtTable are the drivers of libvirt that register machines.
var libvirtTable = [...]struct {
	driver string
	class  Class
}{
	{"qemu-", ClassVM}, {"ch-", ClassVM}, {"xen-", ClassVM}, {"lxc-", ClassContainer},
}

// libvirtName takes TYPE-N-NAME apart. Between TYPE and N an unprivileged
// libvirt puts the user's name.
func libvirtName(n string) (match, bool) {
	for _, row := range libvirtTable {
		rest, ok := strings.CutPrefix(n, row.driver)
		if !ok {
			continue
		}
		for tail := rest; tail != ""; {
			var part string
			part, tail, _ = strings.Cut(tail, "-")
			if isDigits(part) && tail != "" {
				return match{class: row.class, runtime: runtimeLibvirt, id: tail}, true
			}
		}
		// Before libvirt 2 there was no number. Only qemu is unlikely enough
		// to be the beginning of a container's name.
		return match{class: row.class, runtime: runtimeLibvirt, id: rest}, row.driver == "qemu-" && rest != ""
	}
	return match{}, false
}

// otherForm knows the runtimes with one rule each.
func otherForm(c component) (match, bool) {
	name := c.name()
	if task, number, ok := strings.Cut(name, "-"); ok && isHex(task, 32) && isDigits(number) {
		return match{class: ClassContainer, runtime: runtimeFargate, id: name, task: task}, true
	}
	if id := strings.TrimSuffix(name, ".scope"); isNomadTask(id) && c.below(isNomad) {
		return match{class: ClassContainer, runtime: runtimeNomad, id: id}, true
	}
	if isBuildID(name) && c.below(isBuildkit) {
		return match{class: ClassBuild, runtime: runtimeBuildkit, id: name}, true
	}
	if isGardenHandle(name) && c.below(isGarden) {
		return match{class: ClassContainer, runtime: runtimeGarden, id: name}, true
	}
	return match{}, false
}

func isECS(name string) bool      { return name == "ecs" }
func isNomad(name string) bool    { return name == "nomad" || name == "nomad.slice" }
func isBuildkit(name string) bool { return name == "buildkit" }
func isGarden(name string) bool   { return name == "garden" || strings.HasPrefix(name, "garden-") }

// isNomadTask: the allocation's uuid, a dot, the task's name.
func isNomadTask(s string) bool {
	return len(s) > uuidLen+1 && isUUID(s[:uuidLen]) && s[uuidLen] == '.'
}

// isBuildID: BuildKit's ids are 25 digits of base 36.
func isBuildID(s string) bool {
	if len(s) != 25 {
		return false
	}
	for i := range len(s) {
		if (s[i] < '0' || s[i] > '9') && (s[i] < 'a' || s[i] > 'z') {
			return false
		}
	}
	return true
}

// isGardenHandle: a uuid whose last group is cut to at least four digits.
func isGardenHandle(s string) bool {
	const head = len("6f265890-5165-7fab-6b52-")
	return len(s) >= head+4 && len(s) <= uuidLen && isUUIDPrefix(s)
}
