package docs_test

import (
	encoding "encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// kustomization has the fields that deploy/kubernetes uses, and no other: a new one is
// an error here until the renderer knows it.
type kustomization struct {
	APIVersion         string      `json:"apiVersion"`
	Kind               string      `json:"kind"`
	Namespace          string      `json:"namespace"`
	Resources          []string    `json:"resources"`
	Components         []string    `json:"components"`
	ConfigMapGenerator []generator `json:"configMapGenerator"`
	Patches            []struct {
		Target *target `json:"target"`
		Patch  string  `json:"patch"`
	} `json:"patches"`
	Images []struct {
		Name    string `json:"name"`
		NewName string `json:"newName"`
		NewTag  string `json:"newTag"`
	} `json:"images"`
}

// generator makes a ConfigMap of files, or adds files to one.
type generator struct {
	Name     string   `json:"name"`
	Behavior string   `json:"behavior"`
	Files    []string `json:"files"`
}

// target is what a JSON patch is for.
type target struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// operation is one of a JSON patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value string `json:"value"`
}

// object is one object of the Kubernetes API.
type object struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
}

func (o object) key() string { return o.Kind + "/" + o.Metadata.Name }

// typeOf returns an empty value of the API's own type.
func typeOf(o object) any {
	switch o.APIVersion + " " + o.Kind {
	case "v1 Namespace":
		return &corev1.Namespace{}
	case "v1 ServiceAccount":
		return &corev1.ServiceAccount{}
	case "v1 Service":
		return &corev1.Service{}
	case "v1 ConfigMap":
		return &corev1.ConfigMap{}
	case "v1 Secret":
		return &corev1.Secret{}
	case "v1 Pod":
		return &corev1.Pod{}
	case "apps/v1 DaemonSet":
		return &appsv1.DaemonSet{}
	case "apps/v1 Deployment":
		return &appsv1.Deployment{}
	case "rbac.authorization.k8s.io/v1 ClusterRole":
		return &rbacv1.ClusterRole{}
	case "rbac.authorization.k8s.io/v1 ClusterRoleBinding":
		return &rbacv1.ClusterRoleBinding{}
	}
	return nil
}

// decode takes a document apart strictly: what is no field of its type is an error.
func decode(text string) (object, any, error) {
	var o object
	if err := yaml.Unmarshal([]byte(text), &o); err != nil {
		return o, nil, fmt.Errorf("parse manifest: %w", err)
	}
	typed := typeOf(o)
	if typed == nil {
		return o, nil, fmt.Errorf("parse manifest: no type for %s %s", o.APIVersion, o.Kind)
	}
	return o, typed, strict([]byte(text), typed)
}

// strict decodes as the API server does: a field that the type does not have is an error,
// also one in another case.
func strict(text []byte, into any) error {
	raw, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return fmt.Errorf("parse YAML: %w", err)
	}
	unknown, err := json.UnmarshalStrict(raw, into)
	return errors.Join(append(unknown, err)...)
}

func documents(text string) (all []string) {
	for _, one := range strings.Split("\n"+text, "\n---\n") {
		if strings.TrimSpace(one) != "" {
			all = append(all, one)
		}
	}
	return all
}

// rendered are the objects of a kustomization, as JSON, by kind and name.
type rendered map[string][]byte

// render does what `kubectl kustomize` does with the fields above, but for the hash
// behind the name of the ConfigMap.
func render(t *testing.T, dir string) rendered {
	t.Helper()
	r := rendered{}
	r.apply(t, dir)
	return r
}

func (r rendered) apply(t *testing.T, dir string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "kustomization.yaml"))
	require.NoError(t, err)
	var k kustomization
	require.NoError(t, strict(text, &k), dir)
	for _, name := range k.Resources {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			r.apply(t, path)
			continue
		}
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, one := range documents(string(text)) {
			o, typed, err := decode(one)
			require.NoError(t, err, path)
			require.NotContains(t, r, o.key())
			r.set(t, o.key(), typed)
		}
	}
	for _, g := range k.ConfigMapGenerator {
		r.generate(t, dir, g)
	}
	for _, name := range k.Components {
		r.apply(t, filepath.Join(dir, name))
	}
	for _, p := range k.Patches {
		if p.Target != nil {
			r.appendArguments(t, p.Target.Kind+"/"+p.Target.Name, p.Patch)
			continue
		}
		r.merge(t, p.Patch)
	}
	for _, image := range k.Images {
		r.setImage(t, image.Name, image.NewName+":"+image.NewTag)
	}
}

func (r rendered) set(t *testing.T, key string, typed any) {
	t.Helper()
	text, err := encoding.Marshal(typed)
	require.NoError(t, err)
	r[key] = text
}

func (r rendered) generate(t *testing.T, dir string, g generator) {
	t.Helper()
	key := "ConfigMap/" + g.Name
	all := corev1.ConfigMap{}
	all.APIVersion, all.Kind, all.Name, all.Data = "v1", "ConfigMap", g.Name, map[string]string{}
	if g.Behavior == "merge" {
		require.Contains(t, r, key)
		require.NoError(t, json.UnmarshalCaseSensitivePreserveInts(r[key], &all))
	} else {
		require.Empty(t, g.Behavior)
	}
	for _, file := range g.Files {
		text, err := os.ReadFile(filepath.Join(dir, file))
		require.NoError(t, err)
		require.NotContains(t, all.Data, file)
		all.Data[file] = string(text)
	}
	r.set(t, key, all)
}

// merge applies a strategic merge patch, which has to be of the API's type itself.
func (r rendered) merge(t *testing.T, patch string) {
	t.Helper()
	var o object
	require.NoError(t, yaml.Unmarshal([]byte(patch), &o))
	require.Contains(t, r, o.key())
	raw, err := yaml.YAMLToJSON([]byte(patch))
	require.NoError(t, err)
	merged, err := strategicpatch.StrategicMergePatch(r[o.key()], raw, typeOf(o))
	require.NoError(t, err)
	typed := typeOf(o)
	require.NoError(t, strict(merged, typed), patch)
	r.set(t, o.key(), typed)
}

// argumentsOf is the only place to which JSON patches add something here: a strategic
// one would replace the list.
const argumentsOf = "/spec/template/spec/containers/0/args/-"

func (r rendered) appendArguments(t *testing.T, key, patch string) {
	t.Helper()
	var operations []operation
	require.NoError(t, strict([]byte(patch), &operations))
	d := r.daemonSet(t)
	require.Equal(t, key, "DaemonSet/"+d.Name)
	for _, o := range operations {
		require.Equal(t, []string{"add", argumentsOf}, []string{o.Op, o.Path})
		c := &d.Spec.Template.Spec.Containers[0]
		c.Args = append(c.Args, o.Value)
	}
	r.set(t, key, d)
}

func (r rendered) setImage(t *testing.T, name, image string) {
	t.Helper()
	d := r.daemonSet(t)
	c := &d.Spec.Template.Spec.Containers[0]
	repository, _, _ := strings.Cut(c.Image, ":")
	require.Equal(t, name, repository)
	c.Image = image
	r.set(t, "DaemonSet/"+d.Name, d)
}

func (r rendered) daemonSet(t *testing.T) *appsv1.DaemonSet {
	t.Helper()
	var d appsv1.DaemonSet
	require.Contains(t, r, "DaemonSet/tallyman")
	require.NoError(t, json.UnmarshalCaseSensitivePreserveInts(r["DaemonSet/tallyman"], &d))
	require.Len(t, d.Spec.Template.Spec.Containers, 1)
	return &d
}

func (r rendered) configMap(t *testing.T) map[string]string {
	t.Helper()
	var m corev1.ConfigMap
	require.Contains(t, r, "ConfigMap/tallyman-config")
	require.NoError(t, json.UnmarshalCaseSensitivePreserveInts(r["ConfigMap/tallyman-config"], &m))
	return m.Data
}

// variants are kustomizations to look at: the base, with each component, and together.
func variants(t *testing.T) map[string][]string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(manifests, "components", "*", "kustomization.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, found)
	all := map[string][]string{
		"base":                {},
		"all for containerd":  {"kubelet", "otlp", "prometheus", "host-port"},
		"the least":           {"kubelet", "no-socket", "bpf-off"},
		"all for CRI-O":       {"crio", "kubelet", "otlp", "prometheus", "host-port"},
		"CRI-O, without BPF":  {"crio", "bpf-off", "otlp"},
		"kubelet in place":    {"kubelet", "no-socket", "otlp"},
		"page beside gateway": {"prometheus", "otlp"},
	}
	for _, path := range found {
		name := filepath.Base(filepath.Dir(path))
		if name != "no-socket" { // by itself it knows no names
			all[name] = []string{name}
		}
	}
	return all
}

// overlay writes a kustomization beside a copy of deploy/kubernetes, as the page tells
// to do, and returns its folder.
func overlay(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(manifests)))
	mine := filepath.Join(dir, "mine")
	require.NoError(t, os.Mkdir(mine, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(mine, "kustomization.yaml"), []byte(text), 0o644))
	return mine
}

func overlayOf(t *testing.T, components []string) string {
	t.Helper()
	text := "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [../base]\ncomponents:\n"
	for _, name := range components {
		text += "  - ../components/" + name + "\n"
	}
	if len(components) == 0 {
		text = strings.TrimSuffix(text, "components:\n")
	}
	return overlay(t, text)
}

func sorted(names []string) []string {
	slices.Sort(names)
	return names
}
