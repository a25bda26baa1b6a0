package project_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"testing"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/project"
)

func FuzzObject(f *testing.F) {
	fuzz(f, project.Object)
}

func FuzzList(f *testing.F) {
	fuzz(f, project.List)
}

func FuzzStream(f *testing.F) {
	fuzz(f, project.Stream)
}

// fuzz: whatever an engine answers, the result is valid JSON of places that the
// table knows, or an error; and what was cut off does not look whole.
func fuzz(f *testing.F, by func(io.Writer, io.Reader, project.View) (project.Stats, error)) {
	kinds := project.Kinds()
	for _, b := range bodies(f) {
		for i, kind := range kinds {
			if kind == b.kind {
				f.Add(uint8(i), b.text, true)
				f.Add(uint8(i), append(append([]byte{'['}, b.text...), ']'), false)
			}
		}
	}
	rules := compile(f, project.Options{KeepGraphDriver: true, Sizes: true, Swarm: true})
	f.Fuzz(func(t *testing.T, number uint8, text []byte, visible bool) {
		view := project.View{Kind: kinds[int(number)%len(kinds)], Rules: rules}
		if !visible {
			view.Visible = only{}
		}
		var out bytes.Buffer
		stats, err := by(&out, bytes.NewReader(text), view)
		if stats.Written != int64(out.Len()) {
			t.Fatalf("%d bytes were written, %d counted", out.Len(), stats.Written)
		}
		if errors.Is(err, project.ErrHidden) && out.Len() > 0 {
			t.Fatalf("hidden, but: %s", out.Bytes())
		}
		if err != nil {
			return
		}
		for _, value := range values(t, out.Bytes()) {
			inTable(t, view, nil, value)
		}
	})
}

// inTable fails unless the table has every name below value.
func inTable(t *testing.T, view project.View, path []string, value any) {
	t.Helper()
	switch value := value.(type) {
	case map[string]any:
		for name, below := range value {
			inTable(t, view, append(path[:len(path):len(path)], name), below)
		}
	case []any:
		if len(path) == 0 { // the answer itself is a list
			for _, below := range value {
				inTable(t, view, nil, below)
			}
			return
		}
		for _, below := range value {
			inTable(t, view, append(path[:len(path):len(path)], "[]"), below)
		}
	case string, json.Number, bool, nil:
		rule := project.RuleAt(view.Rules, view.Kind, path)
		if rule == "" || rule == "drop" || rule == "object" && value != nil {
			t.Fatalf("%s %v is not in the table (%q): %v", view.Kind, path, rule, value)
		}
	}
}
