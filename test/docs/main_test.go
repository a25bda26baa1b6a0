package docs_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const (
	// binaryEnv names the agent to test.
	binaryEnv = "TALLYMAN_BINARY"
	// root is the repository, seen from this folder.
	root = "../.."
)

func TestMain(m *testing.M) {
	if err := provideBinaries(); err != nil {
		fmt.Fprintln(os.Stderr, "docs:", err)
		os.Exit(1)
	}
	testkit.Main(m)
}

// provideBinaries builds agent and tool unless the environment says which agent to use;
// the tool is beside it then.
func provideBinaries() error {
	if path := os.Getenv(binaryEnv); path != "" {
		return checkBinaries(path)
	}
	path, err := filepath.Abs(filepath.Join(root, "bin", "tallyman"))
	if err != nil {
		return fmt.Errorf("find the agent: %w", err)
	}
	if out, err := exec.Command(filepath.Join(root, "scripts", "build.sh")).CombinedOutput(); err != nil {
		return fmt.Errorf("build the agent (scripts/build.sh): %w\n%s", err, out)
	}
	if err := checkBinaries(path); err != nil {
		return err
	}
	return os.Setenv(binaryEnv, path)
}

func checkBinaries(agent string) error {
	if !filepath.IsAbs(agent) {
		return fmt.Errorf("find the agent: %s=%q is not absolute", binaryEnv, agent)
	}
	for _, path := range []string{agent, toolBeside(agent)} {
		if info, err := os.Stat(path); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			return fmt.Errorf("find %s: no program (scripts/build.sh makes both): %w", path, err)
		}
	}
	return nil
}

func toolBeside(agent string) string { return filepath.Join(filepath.Dir(agent), "tallymanctl") }
