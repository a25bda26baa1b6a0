package arch

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
)

var (
	// mdLink is [text](place), also of a picture; titles and <places> are not used here.
	mdLink = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	mdCode = regexp.MustCompile("`[^`]*`")
)

// checkLinks looks whether relative links and pictures of Markdown files lead to a
// file of this repository and, behind #, to a heading of it.
func checkLinks(tree *Tree, report report) {
	for _, file := range tree.Markdown {
		text, err := os.ReadFile(filepath.Join(tree.root, filepath.FromSlash(file)))
		if err != nil {
			report(file, 1, "%v", err)
			continue
		}
		for n, line := range proseLines(string(text)) {
			for _, link := range mdLink.FindAllStringSubmatch(line, -1) {
				if !strings.Contains(link[1], "://") && !strings.HasPrefix(link[1], "mailto:") {
					tree.checkLink(file, n+1, link[1], report)
				}
			}
		}
	}
}

func (t *Tree) checkLink(from string, line int, link string, report report) {
	place, heading, _ := strings.Cut(link, "#")
	target := from
	if place != "" {
		target = path.Join(path.Dir(from), place)
	}
	text, err := os.ReadFile(filepath.Join(t.root, filepath.FromSlash(target)))
	if info, statErr := os.Stat(filepath.Join(t.root, filepath.FromSlash(target))); statErr == nil && info.IsDir() {
		return
	}
	switch {
	case err != nil:
		report(from, line, "no file %s", target)
	case heading != "" && strings.HasSuffix(target, ".md") && !hasHeading(string(text), heading):
		report(from, line, "no heading #%s in %s", heading, target)
	}
}

// proseLines are all lines, with code blocks and code within lines taken out.
func proseLines(text string) []string {
	lines := strings.Split(text, "\n")
	fenced := false
	for i, line := range lines {
		isFence := strings.HasPrefix(strings.TrimSpace(line), "```")
		if isFence {
			fenced = !fenced
		}
		lines[i] = mdCode.ReplaceAllString(line, "")
		if fenced || isFence {
			lines[i] = ""
		}
	}
	return lines
}

// hasHeading compares as the sites do that show Markdown: lower case, spaces as
// hyphens, and nothing else but letters, digits, hyphens and underscores.
func hasHeading(text, anchor string) bool {
	fenced := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
		}
		title := strings.TrimLeft(line, "#")
		if fenced || title == line || !strings.HasPrefix(title, " ") {
			continue
		}
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(title))
		if name == anchor {
			return true
		}
	}
	return false
}
