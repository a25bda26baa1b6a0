package docs_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

var (
	// ourPath is a path of this repository in a word of a command. What has a letter or
	// slash before it is another's.
	ourPath = regexp.MustCompile(`(?:^|[=@:]|file://|\./)((?:scripts|deploy|test|docs|cmd|internal|receiver|processor|exporter|extension|bpf)/[A-Za-z0-9_./-]*)`)
	// ourVariable is a variable that the agent, its scripts or its files read.
	ourVariable = regexp.MustCompile(`\bTALLYMAN_[A-Z_]+`)
)

// Every command on every page is a command to bash, and what it names of this repository
// is there.
func TestCommandsOnPages(t *testing.T) {
	t.Parallel()
	testkit.NeedCommand(t, "bash")
	known := knownVariables(t)
	targets := makeTargets(t)
	for _, p := range pieces(allBlocks(t)) {
		if p.kind != isShell {
			continue
		}
		t.Run(p.place(), func(t *testing.T) {
			check := exec.Command("bash", "-n")
			check.Stdin = strings.NewReader(p.text)
			out, err := check.CombinedOutput()
			require.NoError(t, err, "%s\n%s", out, p.text)
			require.NotContains(t, p.text, "--privileged")
			for _, name := range ourVariable.FindAllString(p.text, -1) {
				require.True(t, known[name], "nobody reads %s", name)
			}
			for _, command := range splitCommands(p.text) {
				checkCommand(t, p.place(), command, targets)
			}
		})
	}
}

// checkCommand looks at what of a command is ours.
func checkCommand(t *testing.T, place string, words []string, targets []string) {
	t.Helper()
	for _, word := range words {
		for _, found := range ourPath.FindAllStringSubmatch(word, -1) {
			path := strings.TrimSuffix(strings.TrimSuffix(found[1], "..."), "/")
			if filepath.Base(path) == "mine" {
				continue // the reader has just made it
			}
			_, err := os.Stat(filepath.Join(root, path))
			require.NoError(t, err, "%s: %s", place, word)
		}
	}
	words = withoutPrefix(words)
	if len(words) == 0 {
		return
	}
	switch filepath.Base(words[0]) {
	case "make":
		for _, word := range words[1:] {
			if !strings.HasPrefix(word, "-") && !strings.Contains(word, "=") {
				require.Contains(t, targets, word, "%s: make %s", place, word)
			}
		}
	case "tallymanctl":
		checkTool(t, place, words[1:])
	case "tallyman":
		checkAgent(t, place, words[1:])
	case "docker", "kubectl", "systemd-run", "ssh":
		checkWithin(t, place, words)
	}
}

// withoutPrefix takes off assignments, sudo, and keywords of the shell.
func withoutPrefix(words []string) []string {
	for len(words) > 0 && (assignment.MatchString(words[0]) || slices.Contains([]string{"sudo", "do", "then", "while", "!"}, words[0])) {
		words = words[1:]
	}
	return words
}

// checkWithin looks at a tool that is called in a container: behind an image, or directly.
func checkWithin(t *testing.T, place string, words []string) {
	t.Helper()
	image := regexp.MustCompile(`(^|/)tallyman:[a-z0-9.]+$`)
	at := slices.IndexFunc(words, func(w string) bool { return filepath.Base(w) == "tallymanctl" })
	behind := slices.IndexFunc(words, image.MatchString)
	switch {
	case at > 0 && words[at-1] == "--entrypoint":
		require.Greater(t, behind, at, place)
		checkTool(t, place, words[behind+1:])
	case at > 0:
		checkTool(t, place, words[at+1:])
	case behind > 0 && words[0] == "docker" && slices.Contains(words, "run"):
		checkAgent(t, place, words[behind+1:])
	}
}

// checkTool asks tallymanctl itself which commands and flags it has.
func checkTool(t *testing.T, place string, words []string) {
	t.Helper()
	var command []string
	help := helpOf(t, nil)
	for i, word := range words {
		if strings.HasPrefix(word, "-") {
			break
		}
		if !regexp.MustCompile(`(?m)^  ` + regexp.QuoteMeta(word) + ` `).MatchString(help) {
			require.NotContains(t, help, "Available Commands:", "%s: tallymanctl has no %q", place, strings.Join(words[:i+1], " "))
			break
		}
		command = append(command, word)
		help = helpOf(t, command)
	}
	for _, word := range words {
		flag, _, _ := strings.Cut(word, "=")
		if strings.HasPrefix(flag, "-") && flag != "-" && flag != "--" {
			require.Regexp(t, `(^|[\s,])`+regexp.QuoteMeta(flag)+`\b`, help, "%s: tallymanctl %v has no %s", place, command, flag)
		}
	}
}

func helpOf(t *testing.T, command []string) string {
	t.Helper()
	arguments := append(slices.Clone(command), "--help")
	out, err := exec.Command(toolBeside(os.Getenv(binaryEnv)), arguments...).CombinedOutput()
	require.NoError(t, err, "tallymanctl %v: %s", arguments, out)
	return string(out)
}

// checkAgent knows the commands and flags of a Collector as they are used here.
func checkAgent(t *testing.T, place string, words []string) {
	t.Helper()
	known := []string{"--config", "--set", "--feature-gates", "--version", "--help"}
	for i, word := range words {
		flag, _, _ := strings.Cut(word, "=")
		switch {
		case strings.HasPrefix(word, "-"):
			require.Contains(t, known, flag, "%s: tallyman has no %s", place, flag)
		case i == 0:
			require.Contains(t, []string{"validate", "components", "featuregate", "..."}, word, "%s: tallyman has no %s", place, word)
		}
	}
}

func makeTargets(t *testing.T) (names []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "Makefile"))
	require.NoError(t, err)
	for _, found := range regexp.MustCompile(`(?m)^([a-z][a-z-]*):`).FindAllStringSubmatch(string(text), -1) {
		names = append(names, found[1])
	}
	require.Contains(t, names, "run")
	return names
}

// knownVariables are those that something in this repository names which is no page.
func knownVariables(t *testing.T) map[string]bool {
	t.Helper()
	known := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != root && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "bin"):
			return filepath.SkipDir
		case entry.IsDir() || !slices.Contains([]string{".go", ".sh", ".yaml", ".service", ".json", ""}, filepath.Ext(path)):
			return nil
		}
		text, err := os.ReadFile(path)
		for _, name := range ourVariable.FindAllString(string(text), -1) {
			known[name] = true
		}
		return err
	})
	require.NoError(t, err)
	require.True(t, known["TALLYMAN_STATE"])
	return known
}
