package docs_test

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

const manifests = root + "/deploy/kubernetes"

// Each kustomization renders to what the API's types allow, asks for what is documented
// and nothing else, and gives the agent a configuration that it takes.
func TestManifests(t *testing.T) {
	t.Parallel()
	for name, components := range variants(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := overlayOf(t, components)
			r := render(t, dir)
			compareWithKubectl(t, dir, r)
			d := r.daemonSet(t)
			pod := &d.Spec.Template.Spec
			checkPod(t, pod, slices.Contains(components, "bpf-off"))
			checkMounts(t, pod)
			checkUpdate(t, d)
			files := configFiles(t, r, pod)
			checkEnvironment(t, pod, files)
			environment := imageEnvironment(t)
			maps.Copy(environment, environmentOf(pod))
			validate(t, environment, files...)
		})
	}
}

// hashed is the name of a generated ConfigMap with the hash of its content.
var hashed = regexp.MustCompile(`(tallyman-config)-[a-z0-9]{10}\b`)

// compareWithKubectl holds the renderer of this package against kustomize itself, where
// there is a kubectl with it.
func compareWithKubectl(t *testing.T, dir string, ours rendered) {
	t.Helper()
	if _, err := exec.LookPath("kubectl"); err != nil {
		// Debian has none that knows components, so that nobody can be asked to install it.
		t.Logf("NOT compared with kustomize, as there is no kubectl: %v", err)
		return
	}
	out, err := exec.Command("kubectl", "kustomize", dir).CombinedOutput()
	require.NoError(t, err, string(out))
	theirs := rendered{}
	for _, one := range documents(hashed.ReplaceAllString(string(out), "$1")) {
		o, typed, err := decode(one)
		require.NoError(t, err)
		if o.Kind != "Namespace" && o.Kind != "ClusterRole" && o.Kind != "ClusterRoleBinding" {
			require.Equal(t, "tallyman", o.Metadata.Namespace, o.key())
		}
		theirs.set(t, o.key(), typed)
	}
	var a, b map[string]any
	require.NoError(t, json.Unmarshal(theirs.join(t), &a))
	require.NoError(t, json.Unmarshal(ours.join(t), &b))
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("kubectl kustomize has -, we have +\n%s", diff)
	}
}

// join is all of it in one JSON document, without the namespace, which render leaves out,
// and with lists that are sets in an order.
func (r rendered) join(t *testing.T) []byte {
	t.Helper()
	all := map[string]any{}
	for key, text := range r {
		var one map[string]any
		require.NoError(t, json.Unmarshal(text, &one))
		delete(one["metadata"].(map[string]any), "namespace")
		if strings.HasPrefix(key, "DaemonSet/") {
			var d appsv1.DaemonSet
			require.NoError(t, json.Unmarshal(text, &d))
			c := &d.Spec.Template.Spec.Containers[0]
			slices.SortFunc(c.Env, func(a, b corev1.EnvVar) int { return strings.Compare(a.Name, b.Name) })
			slices.SortFunc(c.VolumeMounts, func(a, b corev1.VolumeMount) int { return strings.Compare(a.MountPath, b.MountPath) })
			slices.SortFunc(c.Ports, func(a, b corev1.ContainerPort) int { return int(a.ContainerPort - b.ContainerPort) })
			volumes := d.Spec.Template.Spec.Volumes
			slices.SortFunc(volumes, func(a, b corev1.Volume) int { return strings.Compare(a.Name, b.Name) })
			d.Namespace = ""
			all[key] = d
			continue
		}
		all[key] = one
	}
	text, err := json.Marshal(all)
	require.NoError(t, err)
	return text
}

// capability is a row of the table "What to give": a capability, and in which sets it is.
var capability = regexp.MustCompile(`(?m)^\| .--cap-add ([A-Z_]+). \| *(yes|) *\| *(yes|) *\| *(yes|) *\|$`)

// documented are the capabilities of the sets `full` and `no BPF` in docs/privileges.md.
// Without is left out: the one for the kernel's log is of no use to a pod, which does not
// get the device.
func documented(t *testing.T, without string) (full, noBPF []string) {
	t.Helper()
	for _, row := range capability.FindAllStringSubmatch(readScript(t, "docs", "privileges.md"), -1) {
		if row[1] == without {
			continue
		}
		if row[2] == "yes" {
			full = append(full, row[1])
		}
		if row[3] == "yes" {
			noBPF = append(noBPF, row[1])
		}
	}
	require.NotEmpty(t, full)
	require.NotEmpty(t, noBPF)
	return sorted(full), sorted(noBPF)
}

func checkPod(t *testing.T, pod *corev1.PodSpec, less bool) {
	t.Helper()
	c := pod.Containers[0]
	require.Equal(t, imageName(t), c.Image, "as scripts/image.sh calls it")
	s := c.SecurityContext
	require.Nil(t, s.Privileged)
	require.True(t, *s.ReadOnlyRootFilesystem)
	require.False(t, *s.AllowPrivilegeEscalation)
	require.Equal(t, corev1.SeccompProfileTypeRuntimeDefault, s.SeccompProfile.Type)
	want, noBPF := documented(t, "SYSLOG")
	if less {
		want = noBPF
	}
	var added []string
	for _, name := range s.Capabilities.Add {
		// The API refuses CAP_SYS_ADMIN beside allowPrivilegeEscalation: false, by that name.
		require.NotContains(t, name, "CAP_")
		added = append(added, string(name))
	}
	require.Equal(t, want, sorted(added))
	require.Equal(t, []corev1.Capability{"ALL"}, s.Capabilities.Drop)
	require.True(t, pod.HostPID)
	require.False(t, pod.HostNetwork)
	require.False(t, pod.HostIPC)
	for _, probe := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe} {
		require.Equal(t, []string{"/tallymanctl", "health"}, probe.Exec.Command)
		checkTool(t, "probe", probe.Exec.Command[1:])
	}
}

// checkUpdate looks at what two agents on a node would break.
func checkUpdate(t *testing.T, d *appsv1.DaemonSet) {
	t.Helper()
	require.Zero(t, d.Spec.UpdateStrategy.RollingUpdate.MaxSurge.IntValue(), "the recorder's folder has one owner")
	require.Equal(t, d.Spec.Selector.MatchLabels, d.Spec.Template.Labels)
}

// checkMounts: nothing of the node is writable but the agent's own two folders, and the
// engine's socket and the node's root are not there.
func checkMounts(t *testing.T, pod *corev1.PodSpec) {
	t.Helper()
	own := []string{"/run/tallyman", "/var/lib/tallyman"}
	volumes := map[string]corev1.Volume{}
	for _, v := range pod.Volumes {
		volumes[v.Name] = v
		if v.HostPath != nil {
			require.NotEqual(t, "/", v.HostPath.Path)
			require.NotContains(t, v.HostPath.Path, "docker")
			require.NotContains(t, []string{"/run", "/var/run", "/var/lib", "/etc"}, v.HostPath.Path)
			require.NotNil(t, v.HostPath.Type, "%s: what is missing would be made as a folder", v.Name)
		}
	}
	for _, m := range pod.Containers[0].VolumeMounts {
		v, ok := volumes[m.Name]
		require.True(t, ok, m.Name)
		delete(volumes, m.Name)
		if !m.ReadOnly {
			require.Contains(t, own, m.MountPath)
			require.Equal(t, m.MountPath, v.HostPath.Path, "whoever sends mounts the same one")
		}
		// The API refuses the two together.
		require.False(t, m.RecursiveReadOnly != nil && m.MountPropagation != nil)
	}
	require.Empty(t, volumes, "volumes that nobody mounts")
}

// configFiles are the files of the agent's arguments, written where validate finds them.
func configFiles(t *testing.T, r rendered, pod *corev1.PodSpec) (files []string) {
	t.Helper()
	mapped := r.configMap(t)
	unused := map[string]bool{}
	for name := range mapped {
		unused[name] = true
	}
	dir := t.TempDir()
	for _, argument := range pod.Containers[0].Args {
		file, ok := strings.CutPrefix(argument, "--config=")
		require.True(t, ok, argument)
		switch name := path.Base(file); path.Dir(file) {
		case "/conf":
			require.Contains(t, mapped, name)
			delete(unused, name)
			files = append(files, filepath.Join(dir, name))
			require.NoError(t, os.WriteFile(files[len(files)-1], []byte(mapped[name]), 0o644))
		case "/etc/tallyman":
			files = append(files, imageFile(t, name))
		default:
			t.Errorf("%s is neither in the image nor mounted", file)
		}
	}
	require.Empty(t, unused, "mounted and not read")
	require.True(t, slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool {
		return v.ConfigMap != nil && v.ConfigMap.Name == "tallyman-config"
	}))
	return files
}

// variable is a variable in a configuration, and what stands for it by default.
var variable = regexp.MustCompile(`\$\{env:([A-Za-z0-9_]+)(:-[^}]*)?\}`)

// checkEnvironment: what has no default is set, and what is set is read.
func checkEnvironment(t *testing.T, pod *corev1.PodSpec, files []string) {
	t.Helper()
	read := map[string]bool{}
	given := environmentOf(pod)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, found := range variable.FindAllStringSubmatch(string(text), -1) {
			read[found[1]] = true
			if found[2] == "" {
				require.Contains(t, given, found[1], "%s has no default", found[1])
			}
		}
	}
	for name := range given {
		require.True(t, read[name], "%s is set and read by no file", name)
	}
	for name, value := range imageEnvironment(t) {
		if name == "TALLYMAN_PODS_ROOT" {
			require.True(t, mounts(pod, value), "%s=%s is not mounted", name, value)
		}
	}
	checkSockets(t, pod, files)
}

// checkSockets: the sockets that container_tag is to ask are in mounted folders.
func checkSockets(t *testing.T, pod *corev1.PodSpec, files []string) {
	t.Helper()
	sockets := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var config struct {
			Processors map[string]map[string]any
		}
		require.NoError(t, yaml.Unmarshal(text, &config))
		for key, value := range config.Processors["container_tag"] {
			if source, ok := value.(map[string]any); ok && source["endpoint"] != nil {
				sockets[key] = source["endpoint"].(string)
			}
		}
	}
	for source, endpoint := range sockets {
		file, isSocket := strings.CutPrefix(endpoint, "unix://")
		if !isSocket {
			continue
		}
		require.True(t, mounts(pod, path.Dir(file)), "%s: the folder of %s is not mounted", source, file)
	}
	require.NotEmpty(t, sockets)
}

func mounts(pod *corev1.PodSpec, path string) bool {
	return slices.ContainsFunc(pod.Containers[0].VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == path })
}

// environmentOf are the variables of the agent's container, with an example for what the
// kubelet fills in.
func environmentOf(pod *corev1.PodSpec) map[string]string {
	examples := map[string]string{"spec.nodeName": "node-7", "status.hostIP": "192.0.2.7", "status.podIP": "10.1.2.3"}
	all := map[string]string{}
	for _, e := range pod.Containers[0].Env {
		all[e.Name] = e.Value
		if e.ValueFrom != nil && e.ValueFrom.FieldRef != nil {
			all[e.Name] = examples[e.ValueFrom.FieldRef.FieldPath]
		}
	}
	return all
}

// What pages show of Kubernetes is of the API's types, is not privileged, and renders.
func TestKubernetesOnPages(t *testing.T) {
	t.Parallel()
	count := 0
	for _, d := range yamlDocuments(t) {
		if d.is != ofKubernetes {
			continue
		}
		count++
		require.NotRegexp(t, `privileged:\s*true`, d.text, d.place())
		require.NotContains(t, d.text, "docker.sock", d.place())
		if strings.Contains(d.text, "kind: Kustomization") {
			dir := overlay(t, d.text)
			r := render(t, dir)
			pod := &r.daemonSet(t).Spec.Template.Spec
			checkEnvironment(t, pod, configFiles(t, r, pod))
			compareWithKubectl(t, dir, r)
			continue
		}
		_, _, err := decode(d.text)
		require.NoError(t, err, "%s\n%s", d.place(), d.text)
	}
	require.GreaterOrEqual(t, count, 4)
}
