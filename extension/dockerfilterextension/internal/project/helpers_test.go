package project_test

import (
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/project"
)

// profiles are the options of the profiles that differ in what is projected.
func profiles() map[string]project.Options {
	return map[string]project.Options{
		"monitoring": {},
		"traefik":    {LabelAllow: []string{"traefik.*"}},
		"cadvisor":   {KeepGraphDriver: true},
		"datadog":    {Sizes: true},
		"swarm-read": {Swarm: true},
		"agent":      {EnvAllow: append(project.DefaultEnvAllow(), "APP_*"), Swarm: true, Sizes: true},
	}
}

func compile(t testing.TB, options project.Options) *project.Rules {
	t.Helper()
	rules, err := project.Compile(options)
	require.NoError(t, err)
	return rules
}

// body is an answer of testdata, such as testdata/1.44/info.json.
type body struct {
	file string
	kind project.Kind
	text []byte
}

func bodies(t testing.TB) []body {
	t.Helper()
	var all []body
	err := filepath.WalkDir("testdata", func(file string, _ fs.DirEntry, err error) error {
		name, ok := strings.CutSuffix(filepath.Base(file), ".json")
		if err != nil || !ok {
			return err
		}
		text, err := os.ReadFile(file)
		all = append(all, body{file, project.Kind(name), text})
		return err
	})
	require.NoError(t, err)
	require.NotEmpty(t, all)
	return all
}

// projectText projects a text by what it looks like.
func projectText(text []byte, view project.View) (string, project.Stats, error) {
	var out bytes.Buffer
	by := project.Object
	switch {
	case view.Kind == project.Event:
		by = project.Stream
	case bytes.HasPrefix(text, []byte("[")):
		by = project.List
	}
	stats, err := by(&out, bytes.NewReader(text), view)
	return out.String(), stats, err
}

// show is projectText for what must succeed.
func show(t testing.TB, text string, view project.View) string {
	t.Helper()
	out, _, err := projectText([]byte(text), view)
	require.NoError(t, err, text)
	return out
}

// values parses one or more JSON values and keeps numbers as they are.
func values(t testing.TB, text []byte) []any {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var all []any
	for {
		var value any
		err := decoder.Decode(&value)
		if err == io.EOF {
			return all
		}
		require.NoError(t, err, "%s", text)
		all = append(all, value)
	}
}

// only makes the containers with these ids visible.
type only []string

func (o only) Container(id string) bool {
	for _, visible := range o {
		if id == visible {
			return true
		}
	}
	return false
}
