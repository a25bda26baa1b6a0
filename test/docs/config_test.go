package docs_test

import (
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// subject is what a YAML document is about.
type subject string

const (
	ofCollector  subject = "the Collector"
	ofKubernetes subject = "Kubernetes"
	ofCompose    subject = "Compose"
	ofGrafana    subject = "Grafana"
	ofBuilder    subject = "the Collector's builder"
	ofPrometheus subject = "Prometheus"
	ofUnknown    subject = ""
)

// document is one YAML document of a page.
type document struct {
	piece
	is   subject
	keys map[string]any
}

// yamlDocuments parses every YAML block. A key that is there twice is an error.
func yamlDocuments(t *testing.T) (all []document) {
	t.Helper()
	for _, p := range pieces(allBlocks(t)) {
		if p.kind != isYAML {
			continue
		}
		for _, text := range documents(p.text) {
			d := document{piece: p}
			d.text = text
			decoder := yaml.NewDecoder(strings.NewReader(text))
			err := decoder.Decode(&d.keys)
			if errors.Is(err, io.EOF) {
				continue
			}
			require.NoError(t, err, "%s\n%s", p.place(), text)
			d.is = subjectOf(d.keys)
			all = append(all, d)
		}
	}
	return all
}

func subjectOf(keys map[string]any) subject {
	has := func(key string) bool { _, ok := keys[key]; return ok }
	sections := []string{"receivers", "processors", "exporters", "extensions", "connectors", "service"}
	switch {
	case has("apiVersion") && has("kind"):
		return ofKubernetes
	case has("apiVersion") && has("datasources"):
		return ofGrafana
	case has("dist"):
		return ofBuilder
	case has("scrape_configs") || has("storage"):
		return ofPrometheus
	case has("services"):
		return ofCompose
	case len(keys) > 0 && !slices.ContainsFunc(slices.Collect(maps.Keys(keys)), func(key string) bool {
		return !slices.Contains(sections, key)
	}):
		return ofCollector
	}
	return ofUnknown
}

// parts are YAML blocks that are a part of another one, by page and first key.
func parts() map[string]string {
	return map[string]string{
		"docs/recorder.md jsonData": "what a token adds to the data source above it",
	}
}

func TestEveryYAMLHasASubject(t *testing.T) {
	t.Parallel()
	count := map[subject]int{}
	excused := map[string]bool{}
	for _, d := range yamlDocuments(t) {
		count[d.is]++
		if d.is != ofUnknown {
			continue
		}
		key := d.page + " " + slices.Sorted(maps.Keys(d.keys))[0]
		if parts()[key] == "" {
			t.Errorf("%s: what is this about? %q", d.place(), key)
		}
		excused[key] = true
	}
	for key := range parts() {
		require.True(t, excused[key], "excused and not there: %q", key)
	}
	require.Greater(t, count[ofCollector], 40)
	t.Log(count)
}

// fromFile is a value that the Collector reads from a file of the host.
var fromFile = regexp.MustCompile(`\$\{file:[^}]+\}`)

// What pages tell to write is a configuration that the agent takes: over the default one, or
// behind deploy/otlp.yaml as well, or in place of the default pipelines that it does not
// name, or alone. Equal ones are tried once.
func TestConfigurationsOnPages(t *testing.T) {
	t.Parallel()
	ours, otlp := filepath.Join(root, "otelcol-config.yaml"), filepath.Join(root, "deploy", "otlp.yaml")
	tried := map[string]bool{}
	for _, d := range yamlDocuments(t) {
		if d.is != ofCollector || tried[d.text] {
			continue
		}
		tried[d.text] = true
		t.Run(d.place(), func(t *testing.T) {
			t.Parallel()
			file := writtenDown(t, d.text)
			var said []string
			for _, before := range [][]string{{ours}, {ours, otlp}, {withPipelinesOf(t, ours, d.keys)}, nil} {
				answer, err := validation(t, nil, append(slices.Clone(before), file)...)
				if err == nil {
					return
				}
				said = append(said, answer)
			}
			t.Errorf("the agent takes it neither over its configuration nor alone:\n%s\n%s", d.text, strings.Join(said, "\n"))
		})
	}
	require.Greater(t, len(tried), 40)
}

// withPipelinesOf is a configuration without those of its pipelines that another one does
// not name.
func withPipelinesOf(t *testing.T, file string, other map[string]any) string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var config map[string]any
	require.NoError(t, yaml.Unmarshal(text, &config))
	named, all := pipelinesOf(other), pipelinesOf(config)
	maps.DeleteFunc(all, func(name string, _ any) bool { _, ok := named[name]; return !ok })
	text, err = yaml.Marshal(config)
	require.NoError(t, err)
	pruned := filepath.Join(t.TempDir(), "pruned.yaml")
	require.NoError(t, os.WriteFile(pruned, text, 0o600))
	return pruned
}

func pipelinesOf(config map[string]any) map[string]any {
	service, _ := config["service"].(map[string]any)
	pipelines, _ := service["pipelines"].(map[string]any)
	return pipelines
}

// writtenDown is a file with the text, and a file of its own for each that it reads.
func writtenDown(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	require.NoError(t, os.WriteFile(secret, []byte("0123456789abcdef0123456789abcdef"), 0o600))
	file := filepath.Join(dir, "page.yaml")
	require.NoError(t, os.WriteFile(file, []byte(fromFile.ReplaceAllString(text, "${file:"+secret+"}")), 0o600))
	return file
}

// examplesFor sets the variables of files that have no default.
func examplesFor(t *testing.T, files []string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, found := range variable.FindAllStringSubmatch(string(text), -1) {
			switch name := found[1]; {
			case found[2] != "":
			case strings.HasSuffix(name, "_ENDPOINT"):
				all[name] = "localhost:4317"
			default:
				all[name] = "localhost"
			}
		}
	}
	return all
}

// validate asks the built agent whether it takes the files, one over the other, with
// nothing in the environment but what is given.
func validate(t *testing.T, environment map[string]string, files ...string) {
	t.Helper()
	said, err := validation(t, environment, files...)
	require.NoError(t, err, said)
}

func validation(t *testing.T, environment map[string]string, files ...string) (string, error) {
	t.Helper()
	arguments := []string{"validate"}
	for _, file := range files {
		arguments = append(arguments, "--config", file)
	}
	cmd := exec.CommandContext(t.Context(), os.Getenv(binaryEnv), arguments...)
	cmd.Env = append(cmd.Env, "PATH="+os.Getenv("PATH"), "HOME="+t.TempDir())
	if environment == nil {
		environment = examplesFor(t, files)
	}
	for name, value := range environment {
		if name == "TALLYMAN_ROOT" {
			continue // /hostfs is in a container; here the host's root is its own
		}
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// The agent would say so if a page told something wrong.
func TestValidationCanFail(t *testing.T) {
	t.Parallel()
	f := func(text, want string) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "wrong.yaml")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		said, err := validation(t, nil, filepath.Join(root, "otelcol-config.yaml"), file)
		require.Error(t, err)
		require.Contains(t, said, want)
	}
	f("receivers: {cgroup: {interval: 1s}}", "interval")
	f("receivers: {cgroups: {}}", "cgroups")
	f("service: {pipelines: {metrics: {receivers: [nothing]}}}", "nothing")
}
