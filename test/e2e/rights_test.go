package e2e_test

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// without runs a command as root that lacks some capabilities.
func without(capabilities ...string) []string {
	return []string{"setpriv", "--bounding-set", "-" + strings.Join(capabilities, ",-")}
}

// Where the kernel or the agent's rights do not allow the process stream, one
// line says what is used instead and why, doctor says the same, and the numbers
// go on.
func TestLessThanAllRights(t *testing.T) {
	t.Parallel()
	testkit.NeedBPF(t)
	testkit.NeedCommand(t, "setpriv", "unshare", "mount")
	engine := testkit.Docker(t)
	noBTF := []string{
		"unshare", "--mount", "--propagation", "private",
		"sh", "-c", `mount -t tmpfs none /sys/kernel/btf && exec "$@"`, "sh",
	}
	plain := &syscall.Credential{Uid: nobody, Gid: nobody}
	for name, c := range map[string]struct {
		settings
		tier    string
		because []string
		checks  map[string]string // of doctor
	}{
		"all rights": {tier: "bpf", checks: map[string]string{"bpf.program.on_exec": "pass", "proc.connector": "pass"}},
		"no CAP_BPF": {
			settings: settings{wrap: without("bpf", "sys_admin")}, tier: "connector", because: []string{"CAP_BPF"},
			checks: map[string]string{"capability.bpf": "warn", "bpf.program.on_exec": "fail", "proc.connector": "pass"},
		},
		// Linux 6.6 and newer let everybody ask the proc connector, from the first
		// pid namespace; older ones whoever has CAP_NET_ADMIN.
		"no CAP_BPF, another pid namespace": {
			settings: settings{wrap: append([]string{"unshare", "--pid", "--fork", "--kill-child"}, without("bpf", "sys_admin", "net_admin")...)},
			tier:     "proc", because: []string{"CAP_BPF", "pid namespace"},
			checks: map[string]string{"bpf.program.on_exec": "fail", "proc.connector": "warn", "pid.namespace": "fail"},
		},
		"no BTF": {
			settings: settings{wrap: noBTF}, tier: "connector", because: []string{"CONFIG_DEBUG_INFO_BTF"},
			checks: map[string]string{"bpf.btf": "fail", "bpf.program.on_exec": "fail", "proc.connector": "pass"},
		},
		"plain user": {
			settings: settings{user: plain}, tier: "connector", because: []string{"CAP_BPF"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := startAgent(t, c.settings)
			visible := engine.RunContainer(t, testkit.ContainerSpec{Name: "seen"})
			testkit.Eventually(t, soon, func() error { return a.hasEvent(visible.ID, "container.start") })
			testkit.Eventually(t, soon, a.hasSecondPass(visible.ID))
			require.Empty(t, complaints(a.log()))

			lines := tierLines(t, a.log())
			require.Len(t, lines, 1, "said once: %v", lines)
			require.Equal(t, c.tier, lines[0]["processes"])
			because, _ := lines[0]["because"].(string)
			require.Equal(t, len(c.because) > 0, because != "", because)
			require.NotContains(t, because, "\n")
			for _, part := range c.because {
				require.Contains(t, because, part)
			}
			if c.user == nil {
				status := doctorStatus(t, c.wrap)
				for check, want := range c.checks {
					require.Equal(t, want, status[check], check)
				}
			}
		})
	}
}

// tierLines are the fields of the lines that say how processes are watched.
func tierLines(t *testing.T, log string) []map[string]any {
	t.Helper()
	var found []map[string]any
	for line := range strings.Lines(log) {
		if !strings.Contains(line, "reading cgroups") {
			continue
		}
		var fields map[string]any
		require.NoError(t, json.Unmarshal([]byte(line[strings.Index(line, "{"):]), &fields))
		found = append(found, fields)
	}
	return found
}

// doctorStatus runs doctor with the same rights as an agent.
func doctorStatus(t *testing.T, wrap []string) map[string]string {
	t.Helper()
	binary, err := filepath.Abs(filepath.Join(root, "bin", "tallymanctl"))
	require.NoError(t, err)
	argv := append(append([]string{}, wrap...), binary, "doctor", "--json")
	out, _ := exec.Command(argv[0], argv[1:]...).Output() // it ends with 1 if something failed
	var report struct {
		Checks []struct{ Name, Status string }
	}
	require.NoError(t, json.Unmarshal(out, &report), string(out))
	status := map[string]string{}
	for _, c := range report.Checks {
		status[c.Name] = c.Status
	}
	return status
}
