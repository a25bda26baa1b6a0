package ship_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/stretchr/testify/require"
)

var errOption = errors.New("the tests do not know the option")

// places are what stands on this host, or on this engine, for what the page says.
type places struct {
	volumes map[string]string // of the page -> of the engine
	docker  string            // where /var/lib/docker is
	etc     string            // where /etc is
	profile string            // what is in deploy/seccomp.json
}

// spec is what one container is made of.
type spec struct {
	config *container.Config
	host   *container.HostConfig
}

// add does what `docker run` does with the option.
func (s spec) add(option string, at places) error {
	name, value, _ := strings.Cut(option, " ")
	switch name {
	case "--user":
		s.config.User = value
	case "--read-only":
		s.host.ReadonlyRootfs = true
	case "--pid":
		s.host.PidMode = container.PidMode(value)
	case "--cap-add":
		s.host.CapAdd = append(s.host.CapAdd, value)
	case "--cap-drop":
		s.host.CapDrop = append(s.host.CapDrop, value)
	case "--security-opt":
		if strings.HasPrefix(value, "seccomp=") {
			value = "seccomp=" + at.profile
		}
		s.host.SecurityOpt = append(s.host.SecurityOpt, value)
	case "-v":
		s.host.Binds = append(s.host.Binds, at.bind(value))
	case "-e":
		s.config.Env = append(s.config.Env, value)
	default:
		return s.addPair(name, value)
	}
	return nil
}

// addPair adds what has two parts or three.
func (s spec) addPair(name, value string) error {
	switch name {
	case "--memory":
		mebibytes, err := strconv.ParseInt(strings.TrimSuffix(value, "m"), 10, 64)
		s.host.Memory = mebibytes * mib
		return err
	case "--sysctl":
		key, number, _ := strings.Cut(value, "=")
		s.host.Sysctls = map[string]string{key: number}
	case "-l":
		key, text, _ := strings.Cut(value, "=")
		s.config.Labels = map[string]string{key: text}
	case "--device":
		parts := strings.Split(value, ":")
		if len(parts) != 3 {
			return fmt.Errorf("%s %s: %w", name, value, errOption)
		}
		s.host.Devices = append(s.host.Devices, container.DeviceMapping{
			PathOnHost: parts[0], PathInContainer: parts[1], CgroupPermissions: parts[2],
		})
	default:
		return fmt.Errorf("%s %s: %w", name, value, errOption)
	}
	return nil
}

// bind puts the engine's own places in.
func (at places) bind(value string) string {
	from, rest, _ := strings.Cut(value, ":")
	if volume, ok := at.volumes[from]; ok {
		from = volume
	}
	if below, ok := strings.CutPrefix(from, "/var/lib/docker"); ok {
		from = at.docker + below
	}
	if below, ok := strings.CutPrefix(from, "/etc"); ok && at.etc != "" {
		from = at.etc + below
	}
	return from + ":" + rest
}

func TestOptions(t *testing.T) {
	s := spec{&container.Config{}, &container.HostConfig{}}
	at := places{volumes: map[string]string{"state": "x-state"}, docker: "/data", etc: "/own", profile: "{}"}
	for _, option := range []string{
		"--user 65532", "--cap-drop ALL", "--cap-add A", "--cap-add B", "--read-only", "--pid host", "--sysctl a.b=1",
		"--security-opt no-new-privileges", "--security-opt seccomp=deploy/seccomp.json", "--device /a:/b:r",
		"-v state:/s", "-v /var/lib/docker/c:/d:ro", "-v /proc:/p:ro", "-v /etc/f:/f:ro", "--memory 512m", "-e A=b=c", "-l x.y=z",
	} {
		require.NoError(t, s.add(option, at))
	}
	require.Equal(t, &container.Config{User: "65532", Env: []string{"A=b=c"}, Labels: map[string]string{"x.y": "z"}}, s.config)
	want := &container.HostConfig{
		ReadonlyRootfs: true, PidMode: "host", CapAdd: []string{"A", "B"}, CapDrop: []string{"ALL"},
		SecurityOpt: []string{"no-new-privileges", "seccomp={}"}, Sysctls: map[string]string{"a.b": "1"},
		Binds: []string{"x-state:/s", "/data/c:/d:ro", "/proc:/p:ro", "/own/f:/f:ro"},
	}
	want.Memory = 512 * mib
	want.Devices = []container.DeviceMapping{{PathOnHost: "/a", PathInContainer: "/b", CgroupPermissions: "r"}}
	require.Equal(t, want, s.host)
	require.ErrorIs(t, s.add("--privileged", at), errOption)
	require.ErrorIs(t, s.add("--device /a", at), errOption)
}
