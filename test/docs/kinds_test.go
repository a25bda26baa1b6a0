package docs_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// kind is what a piece of a block is.
type kind string

const (
	isYAML    kind = "yaml"
	isJSON    kind = "json"
	isShell   kind = "shell"
	isOutput  kind = "output"
	isQuery   kind = "promql"
	isDrawing kind = "drawing"
	isINI     kind = "ini"
	isUnknown kind = "unknown"
)

// piece is what of a block is of one kind.
type piece struct {
	block
	kind kind
}

func (p piece) place() string { return fmt.Sprintf("%s:%d", p.page, p.line) }

// programs are those that commands on the pages begin with. A word that is missing here
// makes its block unknown, and is then added.
func programs() []string {
	return strings.Fields(`apt apt-get aws bpftool builder cd chmod cosign crictl curl docker docker-compose dnf dpkg
		echo find for git go grep if install jq journalctl kill kubectl ls make mkdir modprobe mount nc openssl perl printf
		prometheus promtool python3 rpm scp sed setpriv socat ssh stat strace sudo sysctl systemctl systemd-analyze tallyman
		tallymanctl tar umask unzip while yum zypper`)
}

var (
	assignment = regexp.MustCompile(`^[A-Z_][A-Z0-9_]*=\S*$`)
	// Prometheus' text format, the table of attributes of the README, and doctor.
	metricLine = regexp.MustCompile(`^[a-z_:][a-zA-Z0-9_:]*(\{.*[},]|( [0-9.e+-]+)+$)`)
	// Arrows between things with names, as ARCHITECTURE.md draws them.
	drawing = regexp.MustCompile(`-->|--\.| -> `)
	section = regexp.MustCompile(`^\[[A-Z][a-zA-Z]*\]$`)
	// A row of a table that a program prints: a name, and figures in columns.
	figures    = regexp.MustCompile(`^\S.*?( {2,}[-+0-9.]+){3,}`)
	doctorLine = regexp.MustCompile(`^tallymanctl \d`)
	attribute  = regexp.MustCompile(`^[a-z0-9_.]+=\S+  ?`)
)

// pieces splits an indented block at its empty lines, as a command and what it prints
// are often one block. A fenced one is of its language.
func pieces(all []block) (found []piece) {
	for _, b := range all {
		if b.fenced {
			found = append(found, session(piece{b, languageKind(b)})...)
			continue
		}
		previous := isUnknown
		for _, part := range paragraphs(b) {
			k := indentedKind(part.text, previous)
			found = append(found, session(piece{part, k})...)
			previous = k
		}
	}
	return found
}

func languageKind(b block) kind {
	switch b.language {
	case "yaml":
		return isYAML
	case "json":
		return isJSON
	case "sh", "bash", "shell":
		return isShell
	case "promql":
		return isQuery
	case "ini":
		return isINI
	case "text":
		return isOutput
	}
	return isUnknown
}

func paragraphs(b block) (parts []block) {
	line := b.line
	for _, text := range strings.Split(strings.TrimSuffix(b.text, "\n"), "\n\n") {
		text = strings.TrimLeft(text, "\n")
		part := b
		part.line, part.text = line, text+"\n"
		parts = append(parts, part)
		line += strings.Count(text, "\n") + 2
	}
	return parts
}

// indentedKind knows a piece by how it begins. What follows a command in the same block
// and is no command is what it prints.
func indentedKind(text string, previous kind) kind {
	first, _, _ := strings.Cut(text, "\n")
	switch {
	case doctorLine.MatchString(first), figures.MatchString(first):
		return isOutput
	case strings.HasPrefix(text, "$ ") || beginsCommand(first):
		return isShell
	case strings.HasPrefix(first, "{"):
		return isJSON
	case section.MatchString(first):
		return isINI
	case drawing.MatchString(text):
		return isDrawing
	case previous == isShell || previous == isOutput, metricLine.MatchString(first), attribute.MatchString(first):
		return isOutput
	}
	return isUnknown
}

// beginsCommand looks at the first word that is no assignment.
func beginsCommand(line string) bool {
	for _, word := range strings.Fields(strings.TrimLeft(line, "(")) {
		if assignment.MatchString(word) || word == "\\" {
			continue
		}
		word = strings.TrimRight(word, ";")
		return slices.Contains(programs(), word) || strings.HasPrefix(word, "scripts/") || strings.HasPrefix(word, "bin/")
	}
	return strings.HasSuffix(line, "\\") // assignments, and the command on the next line
}

// session takes a piece of lines that begin with "$ " apart into commands and output.
func session(p piece) []piece {
	if p.kind != isShell || !strings.HasPrefix(p.text, "$ ") {
		return []piece{p}
	}
	commands, output, more := p, p, false
	commands.text, output.text, output.kind = "", "", isOutput
	for line := range strings.Lines(p.text) {
		command, isCommand := strings.CutPrefix(line, "$ ")
		if isCommand || more {
			commands.text += command
			more = strings.HasSuffix(strings.TrimSpace(line), "\\")
			continue
		}
		output.text += line
	}
	if output.text == "" {
		return []piece{commands}
	}
	return []piece{commands, output}
}

// unsaid are the blocks about which nothing can be said, by page and first words, with
// the reason.
func unsaid() map[string]string {
	return map[string]string{
		"docs/discovery.md: tallymanctl: receivers::discovery: rules[0]: rule \"x\": compile rule: line 1, column 1: unknown name prot": "a message; cmd/tallymanctl compares it",
		"docs/recorder.md: metrics = samples per second x (3.1 x retention in seconds + 19 x 1350) bytes":                               "a formula",
		"docs/recorder.md: location / {": "nginx, which is not here",
		"docs/recorder.md: recorder/            mode 0700, one recorder at a time (LOCK)": "a folder",
	}
}

// Every block on every page is of a kind that a test knows.
func TestEveryBlockHasAKind(t *testing.T) {
	t.Parallel()
	count := map[kind]int{}
	excused := map[string]bool{}
	for _, p := range pieces(allBlocks(t)) {
		count[p.kind]++
		if p.kind != isUnknown {
			continue
		}
		first, _, _ := strings.Cut(p.text, "\n")
		key := p.page + ": " + first
		if unsaid()[key] == "" {
			t.Errorf("%s: no rule knows this block: %q", p.place(), key)
		}
		excused[key] = true
	}
	for key := range unsaid() {
		require.True(t, excused[key], "excused and not there: %q", key)
	}
	require.Greater(t, count[isYAML], 50)
	require.Greater(t, count[isShell], 50)
	t.Log(count)
}
