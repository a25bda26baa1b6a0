package technology

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/tallymanhq/tallyman/internal/discovery/target"
)

const (
	// mostProcesses bounds the work for a container with a process per
	// connection: the first ones are the oldest, among them what started it.
	mostProcesses = 256
	// mostWords is far more than a Java command line has that was written by
	// people; the class to run comes after the JVM's own options.
	mostWords = 512
	// mostPorts bounds what one technology can be seen at: an application server
	// with random ports would fill the list.
	mostPorts = 8
)

// Facts are what a container was seen to do. Any of it may be missing.
type Facts struct {
	// Processes in the order of their start, PID 1 of the container first.
	Processes []Process
	// Image is its reference without tag.
	Image string
	// Listening and Ports are those of [target.Target].
	Listening []target.Listener
	Ports     []target.Port
}

// Process is one program that runs.
type Process struct {
	// PID is the number on the host, as in [target.Listener].
	PID int
	// Executable is the base name of the program, "" if it could not be read.
	Executable string
	// Comm is the kernel's name for it, cut at 15 bytes. Each process may give itself
	// another one, and so may whatever stands first in Words.
	Comm string
	// Words are the command line, the program first, or what [Telling] leaves of it.
	// They are not kept.
	Words []string
}

// Recognise tells what runs in a container, the surest first and runtimes last
// among equals. Each name comes once for each port it was seen at.
func Recognise(f Facts) []target.Technology {
	r := recogniser{facts: f}
	r.processes()
	r.image()
	r.ports()
	return r.result()
}

type recogniser struct {
	facts Facts
	found []finding
}

// finding is one technology by one kind of evidence.
type finding struct {
	entry      int
	confidence target.Confidence
	// by is what it was seen by, in pieces that are joined at the end.
	by [3]string
	// program is the name under which its processes are known, pids their
	// numbers: they own the listeners that count.
	program string
	pids    []int
}

func (r *recogniser) processes() {
	for _, p := range r.facts.Processes[:min(len(r.facts.Processes), mostProcesses)] {
		f, ok := r.process(p)
		if !ok {
			continue
		}
		same := slices.IndexFunc(r.found, func(o finding) bool { return o.entry == f.entry && o.by == f.by })
		if same < 0 {
			same = len(r.found)
			r.found = append(r.found, f)
		}
		r.found[same].pids = append(r.found[same].pids, p.PID)
	}
	r.dropExplained()
}

// process takes one process for what explains it best.
func (r *recogniser) process(p Process) (finding, bool) {
	p.Words = p.Words[:min(len(p.Words), mostWords)]
	name, confidence, sign := p.Executable, target.Certain, "executable "
	if name == "" {
		name, confidence, sign = p.called(), target.Likely, "process title "
	}
	launcher := unversioned(name)
	f := finding{confidence: confidence, program: name}
	for _, i := range byFact.launched[launcher] {
		if word := spoken(table[i], p.Words); word != "" {
			f.entry, f.by = i, [3]string{launcher, " running ", word}
			return f, true
		}
	}
	i, called, known := r.server(name, p)
	if known && !table[i].Runtime {
		f.entry, f.by = i, [3]string{sign, name, called}
		return f, true
	}
	for _, l := range r.facts.Listening {
		j, ok := byFact.port[l.Addr.Port()]
		if ok && launcher != "" && table[j].Launcher == launcher && (owns(f, l) || l.PID != 0 && l.PID == p.PID) {
			f.entry, f.confidence = j, target.Likely
			f.by = [3]string{launcher, " listening at port ", portText(l.Addr.Port())}
			return f, true
		}
	}
	f.entry, f.by = i, [3]string{sign, name}
	return f, known
}

// server tells which technology a program is by its file's name, unless it runs as
// a tool; called is what else there was to know.
func (r *recogniser) server(name string, p Process) (entry int, called string, ok bool) {
	title := title(p.Words)
	if i, ok := byFact.twin[name]; ok {
		return i, " called " + title, slices.Contains(table[i].Executables, title)
	}
	i, ok := byExecutable(name)
	if !ok || len(p.Words) == 0 {
		return i, "", ok
	}
	e := table[i]
	switch {
	case slices.Contains(e.Twins, title):
		return i, "", false
	case len(e.Serves) == 0, slices.Index(e.Executables, name) > 0, slices.Index(e.Executables, title) > 0:
		return i, "", true
	}
	// Options with values can hide the command; tools do not listen.
	return i, "", commanded(p.Words[1:], e.Serves) || slices.ContainsFunc(r.facts.Listening, func(l target.Listener) bool {
		return l.PID != 0 && l.PID == p.PID
	})
}

// dropExplained takes out a runtime whose program is also there as a launcher of
// something better by the same process; RabbitMQ's helper processes stay erlang
// only if nothing of Erlang was recognised.
func (r *recogniser) dropExplained() {
	launchers := map[string]bool{}
	for _, f := range r.found {
		if !table[f.entry].Runtime {
			launchers[unversioned(f.program)] = true
		}
	}
	r.found = slices.DeleteFunc(r.found, func(f finding) bool {
		return table[f.entry].Runtime && launchers[unversioned(f.program)]
	})
}

func (r *recogniser) image() {
	name := base(r.facts.Image)
	if i, ok := byFact.image[name]; ok && !r.has(i) && r.fits(table[i]) {
		r.found = append(r.found, finding{entry: i, confidence: target.Likely, by: [3]string{"image ", name}})
	}
}

// fits tells whether what is seen could be what the image's name says. Images of
// servers are run for the client in them as well, and then that is all there is.
func (r *recogniser) fits(e Entry) bool {
	processes := r.facts.Processes
	return len(processes) == 0 ||
		slices.ContainsFunc(processes, func(p Process) bool {
			name := cmp.Or(p.Executable, p.called())
			return name == "" || e.Launcher != "" && unversioned(name) == e.Launcher
		}) ||
		slices.ContainsFunc(r.facts.Listening, func(l target.Listener) bool {
			return slices.Contains(e.Ports, l.Addr.Port()) && !r.taken(l)
		})
}

// isInner tells whether a socket is on the loopback and nobody's that is known. The
// engine's name server is one, at any port.
func isInner(l target.Listener) bool { return l.PID == 0 && l.Addr.Addr().IsLoopback() }

// ports takes a telling port for a sign if nobody known listens there. What is
// only announced says nothing about what runs.
func (r *recogniser) ports() {
	for _, l := range r.facts.Listening {
		i, ok := byFact.port[l.Addr.Port()]
		if !ok || l.Protocol != target.TCP || r.has(i) || r.taken(l) {
			continue
		}
		r.found = append(r.found, finding{entry: i, confidence: target.Possible, by: [3]string{"listening at port ", portText(l.Addr.Port())}})
	}
}

func (r *recogniser) has(entry int) bool {
	return slices.ContainsFunc(r.found, func(f finding) bool { return f.entry == entry })
}

// taken tells whether l belongs to a technology that was found by its process,
// is the usual port of one that was found by its image, or means nothing.
func (r *recogniser) taken(l target.Listener) bool {
	if _, known := byExecutable(l.Executable); known || isInner(l) {
		return true
	}
	return slices.ContainsFunc(r.found, func(f finding) bool {
		return owns(f, l) || f.program == "" && slices.Contains(table[f.entry].Ports, l.Addr.Port())
	})
}

func (r *recogniser) result() []target.Technology {
	var all []target.Technology
	for _, f := range r.found {
		e, by := table[f.entry], strings.Join(f.by[:], "")
		for _, port := range r.portsOf(f) {
			all = append(all, target.Technology{Name: e.Name, Port: port, Confidence: f.confidence, By: by, Receiver: e.Receiver})
		}
	}
	slices.SortStableFunc(all, func(a, b target.Technology) int {
		return cmp.Or(cmp.Compare(b.Confidence, a.Confidence), runtimeLast(a.Name)-runtimeLast(b.Name))
	})
	// The same by two signs is told once, by the surer one, and nowhere without
	// a port if there is one.
	var unique []target.Technology
	for _, t := range all {
		if !slices.ContainsFunc(unique, func(o target.Technology) bool {
			return o.Name == t.Name && (o.Port == t.Port || t.Port == 0)
		}) {
			unique = append(unique, t)
		}
	}
	return unique
}

// portsOf tells where a technology serves: where its processes listen, else at a
// usual port whose owner is unknown, else at one that is announced while no
// socket is known at all, else 0. Usual ports come first.
func (r *recogniser) portsOf(f finding) []uint16 {
	usual := table[f.entry].Ports
	var ports []uint16
	add := func(port uint16) {
		if !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	for _, l := range r.facts.Listening {
		port := l.Addr.Port()
		known := slices.Contains(usual, port)
		unowned := l.PID == 0 && l.Executable == "" || f.program == ""
		// Who resolves a name has a UDP socket, too: there only usual ports count.
		if owns(f, l) && (known || l.Protocol == target.TCP) || unowned && known {
			add(port)
		}
	}
	if len(r.facts.Listening) == 0 {
		for _, p := range r.facts.Ports {
			if slices.Contains(usual, p.Number) {
				add(p.Number)
			}
		}
	}
	if len(ports) == 0 {
		return []uint16{0}
	}
	slices.SortFunc(ports, func(a, b uint16) int {
		return cmp.Or(cmp.Compare(place(usual, a), place(usual, b)), cmp.Compare(a, b))
	})
	return ports[:min(len(ports), mostPorts)]
}

// owns tells whether a listener belongs to the processes of a finding.
func owns(f finding, l target.Listener) bool {
	if f.program == "" {
		return false
	}
	return l.PID != 0 && slices.Contains(f.pids, l.PID) || l.Executable != "" && l.Executable == f.program
}

func place(usual []uint16, port uint16) int {
	if i := slices.Index(usual, port); i >= 0 {
		return i
	}
	return len(usual)
}

func runtimeLast(name string) int {
	i, ok := slices.BinarySearchFunc(table, name, func(e Entry, name string) int { return cmp.Compare(e.Name, name) })
	if ok && table[i].Runtime {
		return 1
	}
	return 0
}

func byExecutable(name string) (int, bool) {
	if i, ok := byFact.executable[name]; ok {
		return i, true
	}
	i, ok := byFact.executable[unversioned(name)]
	return i, ok
}

// unversioned takes off the version that distributions add: python3.13,
// php-fpm8.2, postgres-16. A program that is gone from disk, as after an upgrade,
// is shown by the kernel as "nginx (deleted)".
func unversioned(name string) string {
	name = strings.TrimSuffix(name, " (deleted)")
	return strings.TrimRight(name, "0123456789.-_")
}

// called is what a process calls itself. A script has its own name as Comm, whoever
// runs it, so that Comm counts only where there is no command line.
func (p Process) called() string {
	if len(p.Words) > 0 {
		return title(p.Words)
	}
	return uncut(p.Comm)
}

// commMax is TASK_COMM_LEN without the final zero (include/linux/sched.h).
const commMax = 15

// uncut makes the name that is known of one that the kernel has cut.
func uncut(comm string) string {
	if len(comm) < commMax {
		return comm
	}
	for _, e := range table {
		for _, names := range [][]string{e.Executables, e.Twins} {
			for _, name := range names {
				if strings.HasPrefix(name, comm) {
					return name
				}
			}
		}
	}
	return comm
}

// title is the program in what a process calls itself: "nginx: master process",
// "/usr/bin/redis-server *:6379".
func title(words []string) string {
	if len(words) == 0 {
		return ""
	}
	first, _, _ := strings.Cut(words[0], " ")
	return strings.TrimSuffix(base(first), ":")
}

// spoken returns the word of a technology that is on its launcher's command line,
// or "".
func spoken(e Entry, words []string) string {
	if called := title(words); slices.Contains(e.Words, called) {
		return called
	}
	words = words[min(len(words), 1):]
	if e.Launcher == "python" {
		words = script(words)
	}
	for i, word := range words {
		if !strings.HasPrefix(word, "-") && slices.Contains(e.Words, base(word)) && (len(e.Serves) == 0 || commanded(words[i+1:], e.Serves)) {
			return base(word)
		}
	}
	return ""
}

// script is what Python's arguments run, a file or a module, without the
// arguments of that, which may name anything.
func script(words []string) []string {
	for i := 0; i < len(words); i++ {
		switch word := words[i]; {
		case word == "-c":
			return nil
		case word == "-W", word == "-X": // these have a value
			i++
		case word != "-m" && strings.HasPrefix(word, "-"):
		case word == "-m" && i+1 < len(words):
			return words[i+1 : i+2]
		default:
			return words[i : i+1]
		}
	}
	return nil
}

// commanded tells whether the first word that is no option is one of commands.
func commanded(words, commands []string) bool {
	for _, word := range words {
		if !strings.HasPrefix(word, "-") {
			return slices.Contains(commands, word)
		}
	}
	return false
}

func base(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

func portText(port uint16) string { return strconv.Itoa(int(port)) }
