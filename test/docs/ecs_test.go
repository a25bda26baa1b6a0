package docs_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

const ecsFolder = root + "/deploy/ecs"

// taskDefinition has the fields of RegisterTaskDefinition that are used here, by the
// names of the ECS API (API version 2014-11-13).
type taskDefinition struct {
	Family                  string                `json:"family"`
	RequiresCompatibilities []string              `json:"requiresCompatibilities"`
	NetworkMode             string                `json:"networkMode"`
	PidMode                 string                `json:"pidMode"`
	ContainerDefinitions    []containerDefinition `json:"containerDefinitions"`
	Volumes                 []struct {
		Name string `json:"name"`
		Host struct {
			SourcePath string `json:"sourcePath"`
		} `json:"host"`
	} `json:"volumes"`
}

type containerDefinition struct {
	Name                   string   `json:"name"`
	Image                  string   `json:"image"`
	Essential              bool     `json:"essential"`
	User                   string   `json:"user"`
	ReadonlyRootFilesystem bool     `json:"readonlyRootFilesystem"`
	DockerSecurityOptions  []string `json:"dockerSecurityOptions"`
	Command                []string `json:"command"`
	Environment            []struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	} `json:"environment"`
	LinuxParameters struct {
		Capabilities struct {
			Add  []string `json:"add"`
			Drop []string `json:"drop"`
		} `json:"capabilities"`
		Devices []struct {
			HostPath      string   `json:"hostPath"`
			ContainerPath string   `json:"containerPath"`
			Permissions   []string `json:"permissions"`
		} `json:"devices"`
	} `json:"linuxParameters"`
	CPU               int `json:"cpu"`
	MemoryReservation int `json:"memoryReservation"`
	Memory            int `json:"memory"`
	StopTimeout       int `json:"stopTimeout"`
	HealthCheck       struct {
		Command     []string `json:"command"`
		Interval    int      `json:"interval"`
		Timeout     int      `json:"timeout"`
		Retries     int      `json:"retries"`
		StartPeriod int      `json:"startPeriod"`
	} `json:"healthCheck"`
	MountPoints []struct {
		SourceVolume  string `json:"sourceVolume"`
		ContainerPath string `json:"containerPath"`
		ReadOnly      bool   `json:"readOnly"`
	} `json:"mountPoints"`
}

func readTask(t *testing.T) taskDefinition {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(ecsFolder, "task-definition.json"))
	require.NoError(t, err)
	var task taskDefinition
	require.NoError(t, strict(text, &task))
	require.Len(t, task.ContainerDefinitions, 1)
	return task
}

// The task asks for the documented set and nothing else. ECS knows a list of capabilities,
// which has neither BPF nor PERFMON: SYS_ADMIN stands for both.
func TestTaskDefinition(t *testing.T) {
	t.Parallel()
	task := readTask(t)
	c := task.ContainerDefinitions[0]
	require.Equal(t, []string{"EC2"}, task.RequiresCompatibilities)
	require.Equal(t, "host", task.PidMode)
	require.Equal(t, "host", task.NetworkMode, "the ECS agent answers at the loopback of the instance")
	require.Equal(t, imageName(t), c.Image)
	require.True(t, c.ReadonlyRootFilesystem)
	require.Equal(t, []string{"no-new-privileges"}, c.DockerSecurityOptions)
	full, _ := documented(t, "")
	require.Equal(t, full, sorted(c.LinuxParameters.Capabilities.Add))
	require.Equal(t, []string{"ALL"}, c.LinuxParameters.Capabilities.Drop)
	require.Equal(t, []string{"CMD", "/tallymanctl", "health"}, c.HealthCheck.Command)
	checkTool(t, "health check", c.HealthCheck.Command[2:])
	require.LessOrEqual(t, c.StopTimeout, 120, "the most that ECS takes")
	require.Less(t, c.MemoryReservation, c.Memory)

	volumes := map[string]string{}
	for _, v := range task.Volumes {
		require.NotContains(t, v.Host.SourcePath, "docker")
		require.NotContains(t, []string{"/", "/run", "/var/run", "/etc"}, v.Host.SourcePath)
		volumes[v.Name] = v.Host.SourcePath
	}
	for _, m := range c.MountPoints {
		source, ok := volumes[m.SourceVolume]
		require.True(t, ok, m.SourceVolume)
		delete(volumes, m.SourceVolume)
		if !m.ReadOnly {
			require.Equal(t, source, m.ContainerPath)
			require.Contains(t, []string{"/run/tallyman", "/var/lib/tallyman"}, source)
		}
	}
	require.Empty(t, volumes, "volumes that nobody mounts")
}

// The configuration in the task definition is the file beside it, and the agent takes it.
func TestConfigurationOfTheTask(t *testing.T) {
	t.Parallel()
	c := readTask(t).ContainerDefinitions[0]
	environment := map[string]string{}
	for _, e := range c.Environment {
		environment[e.Name] = e.Value
	}
	text, err := os.ReadFile(filepath.Join(ecsFolder, "node.yaml"))
	require.NoError(t, err)
	var beside, within map[string]any
	require.NoError(t, yaml.UnmarshalStrict(text, &beside))
	require.NoError(t, yaml.UnmarshalStrict([]byte(environment["TALLYMAN_NODE"]), &within))
	require.Equal(t, beside, within)

	for name, value := range imageEnvironment(t) {
		environment[name] = value
	}
	var files []string
	for _, argument := range c.Command {
		file, ok := strings.CutPrefix(argument, "--config=")
		require.True(t, ok, argument)
		if name, ok := strings.CutPrefix(file, "/etc/tallyman/"); ok {
			file = imageFile(t, name)
		} else {
			name, ok := strings.CutPrefix(file, "env:")
			require.True(t, ok && environment[name] != "", file)
		}
		files = append(files, file)
	}
	validate(t, environment, files...)
}

// JSON on pages is JSON, and a task definition if it has containers.
func TestJSONOnPages(t *testing.T) {
	t.Parallel()
	for _, p := range pieces(allBlocks(t)) {
		if p.kind == isJSON {
			require.True(t, json.Valid([]byte(p.text)), "%s\n%s", p.place(), p.text)
			if strings.Contains(p.text, `"containerDefinitions"`) {
				require.NoError(t, strict([]byte(p.text), &taskDefinition{}), p.place())
			}
		}
	}
}
