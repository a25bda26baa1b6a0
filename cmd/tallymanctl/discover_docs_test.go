package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/tallymanhq/tallyman/internal/discovery/configfile"
	"github.com/tallymanhq/tallyman/internal/discovery/plan"
	"github.com/tallymanhq/tallyman/internal/discovery/rules"
	"github.com/tallymanhq/tallyman/internal/discovery/settings"
	"github.com/tallymanhq/tallyman/internal/discovery/spec"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

const discoveryPage = "../../docs/discovery.md"

func readDiscoveryPage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile(discoveryPage)
	require.NoError(t, err)
	return string(page)
}

// blocksOf are the quoted parts of the page in a language, without their indentation.
func blocksOf(t *testing.T, language string) (all []string) {
	t.Helper()
	for _, rest := range strings.Split(readDiscoveryPage(t), "```"+language+"\n")[1:] {
		text, _, ok := strings.Cut(rest, "```")
		require.True(t, ok)
		first := text[:len(text)-len(strings.TrimLeft(text, " "))]
		var b strings.Builder
		for line := range strings.Lines(text) {
			b.WriteString(strings.TrimPrefix(line, first))
		}
		all = append(all, b.String())
	}
	require.NotEmpty(t, all)
	return all
}

// distribution are the receivers of builder-config.yaml, by what people call them.
func distribution(t *testing.T) configfile.Available {
	t.Helper()
	content, err := os.ReadFile("../../builder-config.yaml")
	require.NoError(t, err)
	var config struct {
		Receivers []struct{ Gomod, Import string }
	}
	require.NoError(t, yaml.Unmarshal(content, &config))
	all := configfile.Available{}
	for _, r := range config.Receivers {
		path, _, _ := strings.Cut(r.Gomod, " ")
		if r.Import != "" {
			path = r.Import
		}
		all[strings.TrimSuffix(filepath.Base(path), "receiver")] = spec.All
	}
	require.Contains(t, all, "nginx")
	return all
}

// What the page tells to write is what the agent takes, with receivers that it has.
func TestConfigurationsOnThePage(t *testing.T) {
	available := distribution(t)
	loaded, withRules := 0, 0
	for _, text := range blocksOf(t, "yaml") {
		if !strings.HasPrefix(text, "receivers:") {
			continue
		}
		file, err := configfile.Load(configfile.Options{Paths: []string{written(t, text)}})
		require.NoError(t, err, text)
		_, err = plan.New(file.Config)
		require.NoError(t, err, text)
		for i, r := range file.Rules { // file_log is filelog in the module's name
			file.Rules[i].Receiver = strings.ReplaceAll(r.Receiver, "_", "")
		}
		require.Empty(t, settings.CheckRules(file.Rules, available, spec.All), text)
		loaded++
		withRules += len(file.Rules)
	}
	require.GreaterOrEqual(t, loaded, 6)
	require.GreaterOrEqual(t, withRules, 5)
}

// Each rule of the page fits a container as the text beside it says.
func TestRulesOnThePage(t *testing.T) {
	wanted := map[string]string{
		"nginx":       "nginx metrics,logs map[collection_interval:10s endpoint:http://172.17.0.1:80/status]",
		"exporters":   "prometheus metrics,logs map[config:map[scrape_configs:[map[job_name:node scrape_interval:10s static_configs:[map[labels:map[instance:node:9100] targets:[172.17.0.2:9100]]]]]]]",
		"log-files":   "file_log logs map[include:[/srv/logs/files/*.log] start_at:end storage:file_storage/logs]",
		"shop-status": "prometheus metrics,logs map[config:map[scrape_configs:[map[authorization:map[credentials:${env:SHOP_STATUS_TOKEN}] job_name:status static_configs:[map[labels:map[instance:shop-status-1:8080] targets:[172.17.0.4:8080]]]]]]]",
		"team-check":  "prometheus metrics,logs map[config:map[scrape_configs:[map[job_name:checkout metrics_path:/internal/stats scrape_interval:5s static_configs:[map[labels:map[instance:checkout:8080] targets:[172.17.0.5:8080]]]]]]]",
	}
	all := exampleTargets()[:5]
	serve := func(i int, name string, port uint16, labels map[string]string) {
		all[i].Name, all[i].Labels = name, labels
		all[i].Listening = []target.Listener{{Addr: netip.AddrPortFrom(netip.IPv4Unspecified(), port), Protocol: target.TCP}}
	}
	serve(1, "node", 9100, nil)
	serve(2, "files", 8000, map[string]string{"com.example.logs": "files"})
	serve(3, "shop-status-1", 8080, nil)
	all[3].Image = "registry.example.com/shop/status"
	serve(4, "checkout", 8080, map[string]string{"com.example.check.port": "8080", "com.example.check.path": "/internal/stats"})
	got := map[string]string{}
	for _, text := range blocksOf(t, "yaml") {
		if !strings.HasPrefix(text, "receivers:") {
			continue
		}
		file, err := configfile.Load(configfile.Options{Paths: []string{written(t, text)}})
		require.NoError(t, err)
		set, err := rules.Compile(file.Rules)
		require.NoError(t, err)
		for _, one := range all {
			specs, problems := set.Evaluate(one)
			require.Empty(t, problems)
			for _, s := range specs {
				got[s.Rule] += fmt.Sprint(s.Receiver, " ", s.Signals, " ", s.Config)
			}
		}
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// Labels of the page start what the text says, in both forms.
func TestLabelsOnThePage(t *testing.T) {
	config := plan.DefaultConfig()
	config.DockerRoot = t.TempDir()
	web := exampleTargets()[0].ID
	folder := filepath.Join(config.DockerRoot, "containers", web)
	require.NoError(t, os.MkdirAll(folder, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(folder, web+"-json.log"), nil, 0o600))
	p, err := plan.New(config)
	require.NoError(t, err)
	started := func(labels, annotations map[string]string) (all []string) {
		web := exampleTargets()[0]
		web.Labels, web.Annotations = labels, annotations
		nine := web.Listening[0]
		nine.Addr = netip.AddrPortFrom(nine.Addr.Addr(), 9100)
		web.Listening = append(web.Listening, nine)
		v := p.Of(web)
		require.Empty(t, v.Refused)
		require.Empty(t, v.Waiting)
		for _, s := range v.Specs {
			all = append(all, s.Receiver+" "+s.Endpoint)
		}
		return all
	}
	compose, pods := 0, 0
	for _, text := range blocksOf(t, "yaml") {
		var document struct {
			Services map[string]struct{ Labels map[string]string }
			Metadata struct{ Annotations map[string]string }
		}
		require.NoError(t, yaml.Unmarshal([]byte(text), &document))
		for _, service := range document.Services {
			require.Equal(t, []string{"nginx 172.17.0.1:80", "prometheus 172.17.0.1:9100", "file_log "}, started(service.Labels, nil))
			compose++
		}
		if document.Metadata.Annotations != nil {
			require.Equal(t, []string{"prometheus 172.17.0.1:9100"}, started(nil, document.Metadata.Annotations))
			pods++
		}
	}
	require.Equal(t, 1, compose)
	require.Equal(t, 1, pods)
	require.Equal(t, []string{"nginx 172.17.0.1:80"}, started(dockerLabels(t), nil))
}

// dockerLabels are those of the page's first docker run with a scraper.
func dockerLabels(t *testing.T) map[string]string {
	t.Helper()
	_, rest, ok := strings.Cut(readDiscoveryPage(t), "For Docker:\n")
	require.True(t, ok)
	rest, _, _ = strings.Cut(rest, "\n\nThe same")
	labels := map[string]string{}
	for _, found := range regexp.MustCompile(`-l (?:'([^']*)'|(\S+))`).FindAllStringSubmatch(rest, -1) {
		key, value, ok := strings.Cut(found[1]+found[2], "=")
		require.True(t, ok)
		labels[key] = value
	}
	require.Len(t, labels, 3)
	return labels
}

// The table has the fields that expressions see, and no others.
func TestFieldsOnThePage(t *testing.T) {
	_, rest, ok := strings.Cut(readDiscoveryPage(t), "<!-- fields -->\n")
	require.True(t, ok)
	table, _, ok := strings.Cut(rest, "<!-- end -->")
	require.True(t, ok)
	types := map[reflect.Kind]string{reflect.String: "text", reflect.Int: "number", reflect.Bool: "true or false", reflect.Slice: "list", reflect.Map: "map"}
	want, got := map[string]string{}, map[string]string{}
	note := func(of reflect.Type, prefix string) {
		for i := range of.NumField() {
			if f := of.Field(i); f.Type != reflect.TypeFor[target.Pod]() {
				want[prefix+f.Tag.Get("expr")] = types[f.Type.Kind()]
			}
		}
	}
	note(reflect.TypeFor[target.Env](), "")
	note(reflect.TypeFor[target.Pod](), "pod.")
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		for _, name := range regexp.MustCompile("`([a-z_.]+)`").FindAllStringSubmatch(cells[1], -1) {
			got[name[1]] = strings.TrimSpace(cells[2])
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-code +page\n%s", diff)
	}
}

// The tables have all settings of the receiver and of rules, with the defaults.
func TestSettingsOnThePage(t *testing.T) {
	page := readDiscoveryPage(t)
	defaults := plan.DefaultConfig()
	for name, text := range map[string]string{
		"labels": "`true`", "recognise": "`true`", "root_path": "`" + defaults.RootPath + "`",
		"allow_receivers": "`[" + strings.Join(defaults.AllowReceivers, ", ") + "]`", "rules": "none",
	} {
		require.Contains(t, page, "| `"+name+"` | "+text+" |")
	}
	for _, of := range []reflect.Type{reflect.TypeFor[settings.Settings](), reflect.TypeFor[plan.Config](), reflect.TypeFor[rules.Config]()} {
		for i := range of.NumField() {
			name := of.Field(i).Tag.Get("mapstructure")
			if name == "limits" {
				name = "limits::receivers"
			}
			require.True(t, name == ",squash" || strings.Contains(page, "| `"+name+"` |"), name)
		}
	}
}

// What the page quotes of messages stands in the code. unknown name is expr's.
func TestMessagesOnThePage(t *testing.T) {
	var code strings.Builder
	for _, root := range []string{"../../internal/discovery", "../../receiver/discoveryreceiver"} {
		require.NoError(t, filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			code.Write(text)
			return err
		}))
	}
	_, rest, ok := strings.Cut(readDiscoveryPage(t), "## When something is wrong\n")
	require.True(t, ok)
	numbers := regexp.MustCompile(` \d+.*| "redis"$`)
	found := 0
	for _, row := range strings.Split(strings.TrimSpace(rest), "\n")[2:] {
		cell := strings.Split(row, "|")[1]
		for _, quoted := range regexp.MustCompile("`([^`]{12,})`").FindAllStringSubmatch(cell, -1) {
			text := numbers.ReplaceAllString(quoted[1], "")
			if strings.HasPrefix(text, "unknown name") || strings.HasPrefix(text, "has invalid keys") || strings.HasPrefix(text, "Rules that") || strings.HasSuffix(text, ".yaml") {
				continue // of expr, of mapstructure, of this command, of a file
			}
			require.True(t, strings.Contains(code.String(), text) || strings.HasPrefix(text, "backtick"), "%q", text)
			found++
		}
	}
	require.GreaterOrEqual(t, found, 8)
}

// blockAfter is the block behind a mark of the page.
func blockAfter(t *testing.T, mark string) string {
	t.Helper()
	_, rest, ok := strings.Cut(readDiscoveryPage(t), mark)
	require.True(t, ok, mark)
	_, rest, ok = strings.Cut(rest, "```")
	require.True(t, ok)
	_, rest, ok = strings.Cut(rest, "\n")
	require.True(t, ok)
	text, _, ok := strings.Cut(rest, "```")
	require.True(t, ok)
	return text
}

var (
	titleLine = regexp.MustCompile(`(?m)^(\S+)  \S+  [0-9a-f]{12}$`)
	address   = regexp.MustCompile(`\d+\.\d+\.\d+\.\d+`)
	paths     = regexp.MustCompile(`in /\S+\.yaml`)
	suffixed  = regexp.MustCompile(`\b(web|cache|quiet|checkout)-[0-9a-f]{8}\b`)
)

// alike makes outputs comparable that differ in what is different each time.
func alike(text, file string) string {
	text = suffixed.ReplaceAllString(text, "$1")
	text = titleLine.ReplaceAllString(text, "$1  IMAGE  ID")
	text = address.ReplaceAllString(text, "ADDRESS")
	return paths.ReplaceAllString(text, "in "+file)
}

// The worked example on a real engine: the page's labels, rule and output.
func TestWorkedExample(t *testing.T) {
	engine := testkit.Docker(t)
	c := engine.RunContainer(t, testkit.ContainerSpec{
		Name: "checkout", Labels: map[string]string{"com.example.check.port": "8080", "com.example.check.path": "/internal/stats"},
		Cmd: []string{"sh", "-c", "mkdir -p /tmp/w/internal; echo 'checkout_queue_length 3' >/tmp/w/internal/stats; exec httpd -f -p 8080 -h /tmp/w"},
	})
	testkit.Eventually(t, 30*time.Second, func() error { return answers(t, c, ":8080/internal/stats") })
	file := written(t, blockAfter(t, "<!-- worked example -->"))
	got := printed(t, "--endpoint", engine.Host(), "--config", file, "--container", c.Name)
	if diff := cmp.Diff(alike(blockAfter(t, "<!-- worked result -->"), "shop.yaml"), alike(got, "shop.yaml")); diff != "" {
		t.Errorf("-page +got\n%s", diff)
	}
}

// The dry run of the page, on a real engine.
func TestDryRunOnThePage(t *testing.T) {
	engine := testkit.Docker(t)
	nginx := engine.NginxSpec(t)
	nginx.Name = "web"
	web := engine.RunContainer(t, nginx)
	all := []*testkit.Container{web, engine.RunContainer(t, testkit.ContainerSpec{Name: "quiet", Labels: map[string]string{"io.opentelemetry.discovery/ignore": "true"}})}
	all = append(all, engine.RunContainer(t, testkit.ContainerSpec{Name: "cache", Cmd: []string{"httpd", "-f", "-p", "6379"}, Labels: map[string]string{
		"io.opentelemetry.discovery.metrics/enabled": "true", "io.opentelemetry.discovery.metrics/scraper": "redis",
		"io.opentelemetry.discovery.metrics.9121/scraper": "prometheus",
	}}))
	testkit.Eventually(t, 30*time.Second, func() error { return answers(t, web, ":80/status") })
	var config strings.Builder
	config.WriteString("receivers:\n  discovery:\n    rules:\n")
	for _, text := range blocksOf(t, "yaml") {
		for _, name := range []string{"nginx", "exporters"} {
			if _, rule, ok := strings.Cut(text, "      - name: "+name+"\n"); ok {
				config.WriteString("      - name: " + name + "\n" + rule)
			}
		}
	}
	out, code := discovered(t, discoverer(t, "--endpoint", engine.Host(), "--config", written(t, config.String()), "-o", "json"))
	require.Equal(t, exitFailed, code)
	got, err := discoverText{}.render(onlyOf(out, all))
	require.NoError(t, err)
	if diff := cmp.Diff(alike(blockAfter(t, "## Dry run"), "agent.yaml"), alike(got, "agent.yaml")); diff != "" {
		t.Errorf("-page +got\n%s", diff)
	}
}

// onlyOf leaves out what other tests run on the same engine.
func onlyOf(out discoverOutput, all []*testkit.Container) discoverOutput {
	out.Containers = slices.DeleteFunc(out.Containers, func(c containerOutput) bool {
		return !slices.ContainsFunc(all, func(own *testkit.Container) bool { return own.ID == c.ID })
	})
	out.Summary = discoverSummary{}
	for _, c := range out.Containers {
		out.Summary.count(c)
	}
	return out
}

// printed is what discover prints in a process of its own.
func printed(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	cmd := discoverer(t, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Run(), out.String())
	return out.String()
}
