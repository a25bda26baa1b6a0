package redact

import (
	"path"
	"strings"
)

// isShell tells of programs that take a script after -c.
func isShell(program string) bool {
	switch path.Base(program) {
	case "sh", "bash", "dash", "ash", "zsh", "ksh":
		return true
	}
	return false
}

// isScript tells whether an argument is a script: it follows -c, also together
// with other flags (-ec), of the shell that is run, or that another program runs.
func isScript(argv []string, i int) bool {
	if i < 2 || !isShell(argv[0]) && !isShell(argv[i-2]) {
		return false
	}
	flag := argv[i-1]
	return strings.HasPrefix(flag, "-") && !strings.HasPrefix(flag, "--") && strings.HasSuffix(flag, "c")
}

// span is where a word stands in a script.
type span struct{ from, to int }

// script masks the secrets in the arguments of each command of a shell script. It
// knows quotes and what stands between commands, which is enough for the lines of
// health checks and entry points.
func (r *Redactor) script(text string) string {
	var out strings.Builder
	done := 0
	for _, command := range commands(text) {
		argv := make([]string, len(command))
		for i, word := range command {
			argv[i] = text[word.from:word.to]
		}
		skip := 0
		for skip < len(argv)-1 && isPrefix(argv[skip]) {
			skip++
		}
		for i, masked := range r.Args(argv[skip:]) {
			word := command[skip+i]
			out.WriteString(text[done:word.from])
			out.WriteString(masked)
			done = word.to
		}
	}
	out.WriteString(text[done:])
	masked, n := r.text(out.String())
	for range n {
		r.count(Arguments)
	}
	return masked
}

// isPrefix tells of what stands before a command: NAME=value, exec, sudo.
func isPrefix(word string) bool {
	switch word {
	case "exec", "sudo", "env", "export", "nohup", "time", "then", "do", "if", "!":
		return true
	}
	name, _, ok := strings.Cut(word, "=")
	return ok && nameBefore(name) == name
}

// commands are the words of each command of a script.
func commands(text string) [][]span {
	var all [][]span
	var words []span
	var quote byte
	from := -1 // of the word that is open
	endWord := func(at int) {
		if from >= 0 {
			words = append(words, span{from, at})
			from = -1
		}
	}
	for i := range len(text) {
		c := text[i]
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case strings.IndexByte(" \t", c) >= 0:
			endWord(i)
		case strings.IndexByte(";|&\r\n()`", c) >= 0:
			endWord(i)
			all, words = append(all, words), nil
		default:
			if c == '\'' || c == '"' {
				quote = c
			}
			if from < 0 {
				from = i
			}
		}
	}
	endWord(len(text))
	return append(all, words)
}
