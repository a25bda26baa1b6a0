package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// binaryEnv names the agent to test.
const binaryEnv = "TALLYMAN_BINARY"

// root is the repository, seen from this folder.
const root = "../.."

func TestMain(m *testing.M) {
	if err := provideBinary(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	testkit.Main(m)
}

// provideBinary builds the agent unless the environment says which one to use.
func provideBinary() error {
	if path := os.Getenv(binaryEnv); path != "" {
		return checkBinary(path)
	}
	path, err := filepath.Abs(filepath.Join(root, "bin", "tallyman"))
	if err != nil {
		return fmt.Errorf("find the agent: %w", err)
	}
	if out, err := exec.Command(filepath.Join(root, "scripts", "build.sh")).CombinedOutput(); err != nil {
		return fmt.Errorf("build the agent (scripts/build.sh): %w\n%s", err, out)
	}
	if err := checkBinary(path); err != nil {
		return err
	}
	return os.Setenv(binaryEnv, path)
}

func checkBinary(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("find the agent: %w (scripts/build.sh makes bin/tallyman; %s names another one)", err, binaryEnv)
	}
	if !filepath.IsAbs(path) || info.IsDir() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("find the agent: %s=%q is not the absolute path of a program", binaryEnv, path)
	}
	return nil
}
