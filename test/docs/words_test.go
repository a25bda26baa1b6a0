package docs_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// splitter takes a script apart into commands and their words, as far as it matters
// here: quotes, comments, continued lines, and what ends a command.
type splitter struct {
	commands [][]string
	command  []string
	word     strings.Builder
	inWord   bool
	quote    byte
}

func splitCommands(script string) [][]string {
	var s splitter
	script = strings.ReplaceAll(script, "\\\n", " ")
	for i := 0; i < len(script); i++ {
		c := script[i]
		switch {
		case s.quote != 0:
			s.quoted(c)
		case c == '\\' && i+1 < len(script):
			i++
			s.write(script[i])
		case c == '\'' || c == '"':
			s.quote, s.inWord = c, true
		case c == '#' && !s.inWord:
			for i+1 < len(script) && script[i+1] != '\n' {
				i++
			}
		case c == ' ' || c == '\t':
			s.endWord()
		case strings.IndexByte("|;&()<>\n", c) >= 0:
			s.endCommand()
		default:
			s.write(c)
		}
	}
	s.endCommand()
	return s.commands
}

func (s *splitter) quoted(c byte) {
	if c == s.quote {
		s.quote = 0
		return
	}
	s.word.WriteByte(c)
}

func (s *splitter) write(c byte) {
	s.word.WriteByte(c)
	s.inWord = true
}

func (s *splitter) endWord() {
	if s.inWord {
		s.command = append(s.command, s.word.String())
	}
	s.word.Reset()
	s.inWord = false
}

func (s *splitter) endCommand() {
	s.endWord()
	if len(s.command) > 0 {
		s.commands = append(s.commands, s.command)
	}
	s.command = nil
}

func TestWordsOfACommand(t *testing.T) {
	t.Parallel()
	require.Equal(t, [][]string{
		{"A=1", "make", "run"}, {"curl", "-s", "a#b", "x y|z"}, {"grep", `it's`}, {"sudo", "ls"},
	}, splitCommands("A=1 make run # a comment; more\ncurl -s a#b 'x y|z' \\\n  | grep \"it's\" && (sudo ls)\n"))
}
