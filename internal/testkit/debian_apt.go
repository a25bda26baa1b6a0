package testkit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// recipe is to be raised when the same packages would give another root file system.
const recipe = 1

// assumed are packages that others depend on and that no program needs in order to
// run: tools of the installation and of service managers, what busybox has too, and
// PostgreSQL's compiler. apt takes them for installed, which makes half of the
// download and two thirds of the disk.
const assumed = `adduser ca-certificates coreutils debconf dns-root-data dpkg init-system-helpers iproute2
	libllvm14 libllvm17 libllvm19 locales logrotate lsb-base media-types openssl passwd perl perl-base
	perl-modules-5.36 perl-modules-5.40 postgresql-common procps psmisc runit-helper sensible-utils
	socat ssl-cert systemd sysvinit-utils tar ucf`

// apt fetches packages into a folder of its own. The host's sources, keys and proxy
// count, and its lists as long as they are good; nothing of the host is written.
type apt struct {
	dir string
}

// root returns the tar file of a root file system. Other processes with the same
// folder wait meanwhile.
func (a *apt) root(ctx context.Context, packages []string) (string, error) {
	lock, err := os.OpenFile(filepath.Join(a.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", fmt.Errorf("lock cache: %w", err)
	}
	defer lock.Close() // gives the lock back
	if err := flock(lock, unix.LOCK_EX); err != nil {
		return "", err
	}
	if err := a.configure(); err != nil {
		return "", fmt.Errorf("configure apt: %w", err)
	}
	packages = slices.Compact(slices.Sorted(slices.Values(packages)))
	file, err := a.kept(ctx, packages)
	if !errors.Is(err, ErrNoPackages) {
		return file, err
	}
	// There are no lists, or the mirror has not got any more what they tell of.
	if again := a.update(ctx); again != nil {
		return "", errors.Join(err, again)
	}
	return a.kept(ctx, packages)
}

// kept returns the file of the versions that the lists tell, and makes it if there
// is none. Then one of other versions has had its day.
func (a *apt) kept(ctx context.Context, packages []string) (string, error) {
	versions, err := a.versions(ctx, packages)
	if err != nil {
		return "", err
	}
	wanted := digest(strings.Join(packages, " "))
	file := filepath.Join(a.dir, wanted+"-"+digest(fmt.Sprint(recipe, assumed, versions))+".tar")
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return file, err
	}
	if err := a.build(ctx, packages, file); err != nil {
		return "", err
	}
	old, err := filepath.Glob(filepath.Join(a.dir, wanted+"-*.tar"))
	for _, one := range old {
		if one != file {
			err = errors.Join(err, os.Remove(one))
		}
	}
	return file, err
}

// build makes the file. It appears as a whole or not at all.
func (a *apt) build(ctx context.Context, packages []string, file string) error {
	work := filepath.Join(a.dir, "work")
	defer os.RemoveAll(work)
	archives := filepath.Join(work, "archives")
	// Whoever was killed in the middle of this has left it behind.
	if err := errors.Join(os.RemoveAll(work), os.MkdirAll(filepath.Join(archives, "partial"), 0o755)); err != nil {
		return fmt.Errorf("make root file system: %w", err)
	}
	args := append([]string{"-o", "Dir::Cache::archives=" + archives, "--download-only", "install"}, packages...)
	if _, err := a.get(ctx, args...); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(archives, "*.deb"))
	if err != nil {
		return fmt.Errorf("make root file system: %w", err)
	}
	made := filepath.Join(work, "root.tar")
	err = writeDebianRoot(ctx, made, debs)
	if err == nil {
		err = os.Rename(made, file)
	}
	if err != nil {
		return fmt.Errorf("make root file system: %w", err)
	}
	return nil
}

// versions are the packages to fetch, one in each line of a simulation:
//
//	Inst libc6 (2.36-9+deb12u13 Debian:12.12/stable [amd64])
func (a *apt) versions(ctx context.Context, packages []string) (string, error) {
	out, err := a.get(ctx, append([]string{"--simulate", "install"}, packages...)...)
	if err != nil {
		return "", err
	}
	var all []string
	for line := range strings.Lines(out) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[0] == "Inst" {
			all = append(all, fields[1]+strings.TrimPrefix(fields[2], "("))
		}
	}
	if len(all) == 0 {
		return "", fmt.Errorf("%w: nothing to install in %q", ErrNoPackages, out)
	}
	slices.Sort(all)
	return strings.Join(all, " "), nil
}

// update fetches lists of our own, which count instead of the host's from now on.
func (a *apt) update(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Join(a.lists(), "partial"), 0o755); err != nil {
		return fmt.Errorf("update lists: %w", err)
	}
	_, err := a.get(ctx, "-o", "APT::Update::Error-Mode=any", "update")
	if err != nil {
		// Half of the lists are worse than the host's.
		return errors.Join(err, os.RemoveAll(a.lists()))
	}
	return nil
}

func (a *apt) lists() string { return filepath.Join(a.dir, "lists") }

func (a *apt) get(ctx context.Context, args ...string) (string, error) {
	options := []string{"-c", filepath.Join(a.dir, "apt.conf"), "-qq", "--yes"}
	if _, err := os.Stat(a.lists()); err == nil {
		options = append(options, "-o", "Dir::State::lists="+a.lists())
	}
	cmd := exec.CommandContext(ctx, "apt-get", append(options, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var out, failure bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &failure
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%w: run apt-get %s: %w: %s", ErrNoPackages, strings.Join(args, " "), err, tailOf(failure.Bytes()))
	}
	return out.String(), nil
}

// tailOf is enough of a program's complaints to see what is wrong.
func tailOf(text []byte) string {
	text = bytes.TrimSpace(text)
	return string(text[max(0, len(text)-1000):])
}

// configure writes apt's options and the list of what it takes for installed. The
// file is read after the host's, so it can take back what hosts do after an update.
func (a *apt) configure() error {
	const options = `Dir::State::status "%[1]s/status";
Dir::State::extended_states "%[1]s/extended_states";
Dir::Cache "%[1]s/cache";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "";
Debug::NoLocking "true";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
APT::Get::AllowUnauthenticated "false";
Acquire::Retries "1";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
Acquire::Languages "none";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
`
	var status strings.Builder
	for _, name := range strings.Fields(assumed) {
		// Newer than any dependency asks for, and for each architecture.
		fmt.Fprintf(&status, "Package: %s\nStatus: install ok installed\nVersion: 99:0\nArchitecture: all\n"+
			"Multi-Arch: allowed\nMaintainer: none\nDescription: assumed\n\n", name)
	}
	if err := os.MkdirAll(filepath.Join(a.dir, "cache", "archives", "partial"), 0o755); err != nil {
		return err
	}
	err := os.WriteFile(filepath.Join(a.dir, "status"), []byte(status.String()), 0o644)
	return errors.Join(err, os.WriteFile(filepath.Join(a.dir, "apt.conf"), fmt.Appendf(nil, options, a.dir), 0o644))
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:6])
}
