package technology

import (
	"slices"
	"strings"
)

// Whatever is not known stands as one of these in what [Telling] returns.
const (
	anyWord   = "?"
	anyOption = "-"
)

// mostAny is how many unknown words in a row make a difference: the value of an
// option, and a word behind it.
const mostAny = 2

// Telling returns what of a command line makes a difference to [Recognise], in a form
// that may be kept: words of the table and Python's options stay, each other word is
// replaced, so that no secret is left, and what is not needed is left out.
func Telling(words []string) []string {
	if len(words) == 0 {
		return nil
	}
	words = words[:min(len(words), mostWords)]
	all := []string{tellingTitle(title(words))}
	for _, word := range words[1:] {
		switch {
		case slices.Contains([]string{"-c", "-m", "-W", "-X"}, word), byFact.command[word]:
			all = append(all, strings.Clone(word))
		case strings.HasPrefix(word, "-"):
			// What follows such an option belongs to it, whatever it is.
			if len(all) > 1 && slices.Contains([]string{"-m", "-W", "-X"}, all[len(all)-1]) {
				all = append(all, anyOption)
			}
		case byFact.word[base(word)]:
			all = append(all, strings.Clone(base(word)))
		case !endsInAny(all):
			all = append(all, anyWord)
		}
	}
	return all
}

func endsInAny(all []string) bool {
	tail := all[max(1, len(all)-mostAny):]
	return len(tail) == mostAny && !slices.ContainsFunc(tail, func(word string) bool { return word != anyWord })
}

func tellingTitle(title string) string {
	_, isProgram := byExecutable(title)
	_, isTwin := byFact.twin[title]
	switch {
	case title == "", isProgram, isTwin, byFact.word[title], byFact.launched[unversioned(title)] != nil:
		return strings.Clone(title)
	}
	return anyWord
}
