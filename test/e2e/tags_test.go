package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// Of three containers one is excluded by a label. Nothing of it gets anywhere:
// no metric, event, line, span or record, neither to the backend nor to a file.
func TestSelection(t *testing.T) {
	t.Parallel()
	testkit.NeedRoot(t)
	engine := testkit.Docker(t)
	sink := testkit.NewSink(t)
	label := fmt.Sprintf("tallyman.test.unwanted%08x", rand.Uint32())
	// What nobody knows after this time is let pass, which is not what is tested here: the
	// engine of a busy machine may take longer than the default to tell of a container.
	s := tagSettings(sink, engine.Host(), `processors::container_tag::exclude: [{label: {`+label+`: "*"}}]`,
		"processors::container_tag::wait: 10s")
	s.env = append(s.env, "TALLYMAN_DOCKER_ROOT="+dockerRoot(t, engine))
	a := follow(t, sink, s)
	testkit.Eventually(t, soon, (&logAgent{settings: settings{state: a.state}}).hasLooked)

	// The unwanted one is always first: what is there of the others must have
	// overtaken it, if it came.
	spec := testkit.ContainerSpec{
		Name: "chosen", Cmd: shell(`i=0; while :; do i=$((i+1)); echo "line $i"; sleep 0.2; done`),
	}
	unwanted := spec
	unwanted.Name, unwanted.Labels = "unwanted", map[string]string{label: ""}
	all := []*testkit.Container{engine.RunContainer(t, unwanted)}
	for range 2 {
		all = append(all, engine.RunContainer(t, spec))
	}
	for _, c := range all {
		resource := map[string]any{"container.id": c.ID, "service.name": "shop"}
		a.post(t, "/v1/traces", spanJSON(t, "of "+c.ID, resource))
		a.post(t, "/v1/logs", recordJSON(t, "of "+c.ID, resource))
	}
	for _, c := range all[1:] {
		a.awaitTags(t, c.ID, map[string]any{"container.name": c.Name})
		for _, body := range []string{"line 10", "of " + c.ID} {
			a.wait(t, func() (delivery, error) {
				return a.record(func(d delivery) bool { return d.body == body && d.resource["container.id"] == c.ID })
			})
		}
		a.wait(t, func() (delivery, error) {
			return a.span(func(d delivery) bool { return d.resource["container.id"] == c.ID })
		})
		a.awaitEvent(t, c.ID, scopeCgroup, "container.start")
		testkit.Eventually(t, soon, func() error { return a.onPage(c.ID) })
	}
	for _, c := range all {
		require.NoError(t, c.Remove(t.Context()))
	}
	for _, c := range all[1:] {
		a.awaitEvent(t, c.ID, scopeCgroup, "container.stop")
		a.awaitEvent(t, c.ID, scopeStatus, "container.destroy")
	}
	a.neverHeardOf(t, all[0])
}

// neverHeardOf looks for a container in all that has left the agent.
func (a *tagAgent) neverHeardOf(t *testing.T, c *testkit.Container) {
	t.Helper()
	require.ErrorIs(t, a.onPage(c.ID), errMissing)
	log, code := a.stop() // so that nothing is on its way
	require.Zero(t, code)
	require.Empty(t, complaints(log))
	a.take()
	require.Zero(t, a.seen[c.ID], "resources of metrics")
	for _, d := range slices.Concat(a.records, a.spans) {
		require.NotEqual(t, c.ID, d.resource["container.id"], "%v", d)
		require.NotContains(t, d.body, c.ID)
	}
	for _, name := range []string{"events.jsonl", "container-logs.jsonl"} {
		text, err := os.ReadFile(filepath.Join(a.state, name))
		require.NoError(t, err)
		require.False(t, bytes.Contains(text, []byte(c.ID)), "%s has it", name)
	}
}

// ownPipeline is a configuration with container_tag and nothing that filters the
// engine's socket; %s is what container_tag is given.
const ownPipeline = `
receivers:
  otlp: {protocols: {grpc: {}, http: {}}}
processors:
  container_tag: %s
exporters:
  prometheus: {endpoint: localhost:9464}
  otlp_grpc: {endpoint: "${env:OTEL_EXPORTER_OTLP_ENDPOINT}", tls: {insecure: true}}
extensions:
  health_check: {}
service:
  extensions: [health_check]
  pipelines:
    traces: {receivers: [otlp], processors: [container_tag], exporters: [otlp_grpc]}
    logs: {receivers: [otlp], processors: [container_tag], exporters: [otlp_grpc]}
    metrics: {receivers: [otlp], processors: [container_tag], exporters: [prometheus]}
`

// Without docker_filter the engine's own socket is asked, and that is said once.
// With docker.enabled: false nobody is asked, and nothing is said.
func TestUnfilteredSocket(t *testing.T) {
	t.Parallel()
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "unshare", "mount")
	engine := testkit.Docker(t)
	c := engine.RunContainer(t, testkit.ContainerSpec{Name: "unfiltered"})
	spans := func(t *testing.T, config string) (*tagAgent, delivery) {
		t.Helper()
		sink := testkit.NewSink(t)
		a := follow(t, sink, settings{
			configs: []string{ownConfig(t, fmt.Sprintf(ownPipeline, config))},
			env:     []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + sink.Address()},
			wrap:    atDefaultSocket(t, engine),
		})
		a.post(t, "/v1/logs", recordJSON(t, "unfiltered", map[string]any{"container.id": c.ID}))
		return a, a.wait(t, func() (delivery, error) {
			return a.record(func(d delivery) bool { return d.body == "unfiltered" })
		})
	}
	t.Run("warned", func(t *testing.T) {
		a, got := spans(t, "{host_tags: {role: db}}")
		require.NoError(t, hasTags(got.resource, withHost(t, map[string]any{"container.name": c.Name, "role": "db"})))
		log, code := a.stop()
		require.Zero(t, code)
		said := complaints(log)
		require.Len(t, said, 1)
		require.Contains(t, said[0], "unix:///var/run/docker.sock")
		require.Contains(t, said[0], "docker_filter")
	})
	t.Run("switched off", func(t *testing.T) {
		a, got := spans(t, "{docker: {enabled: false}, host_tags: {role: db}}")
		require.Equal(t, withHost(t, map[string]any{"container.id": c.ID, "role": "db"}), got.resource)
		log, code := a.stop()
		require.Zero(t, code)
		require.Empty(t, complaints(log))
	})
}

// atDefaultSocket is a command that runs another one where the engine's socket is
// at its usual place, whatever this host has there.
func atDefaultSocket(t *testing.T, engine *testkit.Engine) []string {
	t.Helper()
	return []string{
		"unshare", "--mount", "--propagation", "private", "sh", "-ec",
		`mount --bind "$1" "$2"; mount -t tmpfs none /run; ln -s "$2/$3" /run/docker.sock; shift 3; exec "$@"`, "sh",
		filepath.Dir(engine.Socket()), t.TempDir(), filepath.Base(engine.Socket()),
	}
}

// What is wrong in the configuration ends the start, and the check of it, with
// the field's name.
func TestBadTagConfig(t *testing.T) {
	t.Parallel()
	f := func(field, value string, names ...string) {
		t.Helper()
		t.Run(strings.Join(append([]string{field}, names...), " "), func(t *testing.T) {
			s := settings{set: []string{"processors::container_tag::" + field + ": " + value}}
			names := append([]string{"container_tag"}, names...)
			out, err := exec.Command(os.Getenv(binaryEnv), "validate", "--config", filepath.Join(root, "otelcol-config.yaml"),
				"--config", "yaml:"+s.set[0]).CombinedOutput()
			require.Error(t, err, "validate: %s", out)
			log, code := launch(t, s).wait(refuseWithin)
			require.Positive(t, code, "ended without an error (-1: by a signal)")
			for _, name := range names {
				require.Contains(t, string(out), name, "validate")
				require.Contains(t, lastWords(log), name)
			}
		})
	}
	f("labels", `{allow: ["com.[example"]}`, "labels.allow[0]", "com.[example")
	f("labels", `{allow: ["a", ""]}`, "labels.allow[1]", "empty")
	f("env", `{allow: ["A=B"]}`, "env.allow[0]", "A=B")
	f("cardinality", "medium", "cardinality", "medium")
	f("wait", "-1s", "wait", "-1s")
	f("wait", "1m", "wait", "1m0s")
	f("docker", "{endpoint: docker.sock}", "docker.endpoint", "docker.sock")
	f("include", "[{}]", "include[0]")
	f("include", `[{image: "a{b"}]`, "include[0].image")
	f("exclude", `[{container_name: a}, {label: {x: "["}}]`, "exclude[1].label[x]")
	f("kubelet", "{endpoint: node:10250}", "kubelet.endpoint")
	f("host_tags_file", "tags.yaml", "host_tags_file", "tags.yaml")
	f("unknown", "keep", "unknown", "keep")
	f("tags", "{}", "tags") // there is no such key
}

// A variable becomes the attribute it is mapped to, and only that, by way of the
// filtered socket; a secret does not, whatever it is called.
func TestMappedEnvironment(t *testing.T) {
	t.Parallel()
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "docker")
	engine := testkit.Docker(t)
	a := startTagAgent(t, engine.Host(), `processors::container_tag::env: {attributes: {TEAM: team, BACKEND: backend, NOT_SET: nothing}}`)
	const secret = "postgres://shop:hunter2-planted@db/shop"
	c := engine.RunContainer(t, testkit.ContainerSpec{
		Name: "mapped", Env: []string{"TEAM=front", "BACKEND=" + secret, "OTHER=other-planted", "OTEL_SERVICE_NAME=cart"},
	})
	a.awaitTags(t, c.ID, map[string]any{"container.name": c.Name, "team": "front", "service.name": "cart"})
	d, err := a.point(c.ID, "container.uptime", nil)
	require.NoError(t, err)
	require.NotContains(t, d.resource, "backend")
	require.NotContains(t, d.resource, "nothing")
	require.NotContains(t, fmt.Sprint(d.resource), "planted")

	// Only the agent itself is shown the value.
	out, err := exec.Command("docker", "-H", "unix://"+filepath.Join(a.state, "docker.sock"), "inspect", c.Name).CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "TEAM=***")
	require.NotContains(t, string(out), "planted")
	log, code := a.stop()
	require.Zero(t, code)
	require.Empty(t, complaints(log))
	require.NotContains(t, log, "planted")
}

// oddLabels are those of containers whose labels are too much, by the reason under
// which otelcol_container_tag_cut counts them.
func oddLabels() map[string]map[string]string {
	many := map[string]string{}
	for i := range 3000 {
		many[fmt.Sprintf("many.%04d", i)] = "value"
	}
	return map[string]map[string]string{
		"metadata_size":   {"huge": hugeText(10 << 20)},
		"attribute_count": many,
		"value_length":    {"long": strings.Repeat("é", 1500)},
		"invalid_utf8":    {"control": "a\x00b\x1b[31m\nc"},
		"secret":          {"dsn": "postgres://shop:hunter2-planted@db/shop"},
		"malformed":       {"com.datadoghq.ad.tags": "[not json"},
	}
}

// hugeText has n bytes and looks like nothing but text.
func hugeText(n int) string { return strings.Repeat("a long label ", n/13+1)[:n] }

// Labels of ten megabytes, thousands of them, and such with odd characters are
// cut and counted. Their containers and all others are tagged as ever. The engine
// is asked without docker_filter, which would keep most of this back.
func TestBadMetadata(t *testing.T) {
	t.Parallel()
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "dockerd", "ip")
	// An engine of its own: others would have to read these labels, too.
	engine, err := testkit.StartEngine(t.Context(), t.TempDir(), t.Logf)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, engine.Stop()) })
	a := startTagAgent(t, engine.Host(),
		"processors::container_tag::docker::endpoint: "+engine.Host(),
		"receivers::container_status::endpoint: "+engine.Host(),
		`processors::container_tag::labels: {allow: ["*"]}`)
	before := engine.RunContainer(t, testkit.ContainerSpec{Name: "before"})
	odd := map[string]*testkit.Container{}
	for reason, labels := range oddLabels() {
		odd[reason] = engine.RunContainer(t, testkit.ContainerSpec{Name: "odd", Labels: labels})
	}
	after := engine.RunContainer(t, testkit.ContainerSpec{Name: "after"})
	for _, c := range append(slices.Collect(maps.Values(odd)), before, after) {
		a.awaitTags(t, c.ID, map[string]any{"container.name": c.Name, "container.image.name": "tallyman-test/busybox"})
		require.NoError(t, a.onNamedPage(c.ID, c.Name))
	}
	got := func(reason string) map[string]any {
		d, err := a.point(odd[reason].ID, "container.uptime", nil)
		require.NoError(t, err)
		return d.resource
	}
	const longest = 1024 // max_value_length
	require.Equal(t, hugeText(longest), got("metadata_size")["container.label.huge"])
	require.Equal(t, strings.Repeat("é", longest/2), got("value_length")["container.label.long"])
	require.Equal(t, "ab\x1b[31m\nc", got("invalid_utf8")["container.label.control"])
	require.Equal(t, "value", got("attribute_count")["container.label.many.0000"])
	require.NotContains(t, fmt.Sprint(got("secret")), "hunter2")
	require.Less(t, len(got("attribute_count")), 64+1+len(hostTags(t))+1, "max_attributes, container.id and the host's")
	testkit.Eventually(t, soon, func() error { return counted(a.own, slices.Collect(maps.Keys(odd))) })
	log, code := a.stop()
	require.Zero(t, code)
	require.Empty(t, complaints(log))
}

// One container whose label has ten megabytes does not keep others from being
// tagged by way of docker_filter.
func TestHugeLabel(t *testing.T) {
	t.Parallel()
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "dockerd", "ip")
	engine, err := testkit.StartEngine(t.Context(), t.TempDir(), t.Logf)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, engine.Stop()) })
	a := startTagAgent(t, engine.Host(), `processors::container_tag::labels: {allow: ["*"]}`)
	before := engine.RunContainer(t, testkit.ContainerSpec{Name: "before"})
	huge := engine.RunContainer(t, testkit.ContainerSpec{Name: "huge", Labels: map[string]string{"huge": hugeText(10 << 20)}})
	after := engine.RunContainer(t, testkit.ContainerSpec{Name: "after"})
	for _, c := range []*testkit.Container{before, after, huge} {
		a.awaitTags(t, c.ID, map[string]any{"container.name": c.Name})
	}
	require.Empty(t, complaints(a.log()))
}

// counted returns nil once each reason to cut was counted.
func counted(url string, reasons []string) error {
	body, err := get(url)
	if err != nil {
		return err
	}
	now, err := parsePage(body)
	if err != nil {
		return err
	}
	var missing []error
	for _, reason := range reasons {
		if now[""].sum("otelcol_container_tag_cut "+fmt.Sprintf("reason=%q", reason)) <= 0 {
			missing = append(missing, fmt.Errorf("otelcol_container_tag_cut for %s: %w", reason, errMissing))
		}
	}
	return errors.Join(missing...)
}
