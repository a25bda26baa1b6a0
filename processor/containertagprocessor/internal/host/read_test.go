package host

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
)

func TestArch(t *testing.T) {
	f := func(machine, want string) {
		t.Helper()
		if have := Arch(machine); have != want {
			t.Errorf("%s: %s, want %s", machine, have, want)
		}
	}
	f("x86_64", "amd64")
	f("aarch64", "arm64")
	f("armv6l", "arm32")
	f("armv7l", "arm32")
	f("armv8l", "arm32")
	f("i386", "x86")
	f("i686", "x86")
	f("ppc", "ppc32")
	f("ppc64le", "ppc64")
	f("s390x", "s390x")
	f("ia64", "ia64")
	f("riscv64", "riscv64")
	f("", "")
}

func TestParseRelease(t *testing.T) {
	f := func(content string, want map[string]string) {
		t.Helper()
		if have := parseRelease([]byte(content)); !maps.Equal(have, want) {
			t.Errorf("%q: %q, want %q", content, have, want)
		}
	}
	f("PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n",
		map[string]string{"PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)", "VERSION_ID": "12", "ID": "debian"})
	f("# PRETTY_NAME=no\n\nA='b c'\r\nB=\"say \\\"x\\\" \\$1 \\\\ \\n\"\n",
		map[string]string{"A": "b c", "B": `say "x" $1 \ \n`})
	f("A=1\nA=2", map[string]string{"A": "2"})
	f("A=a b\nB=\"open\nC='x'y'\nD=\"x\"y\nE\n=f\nG=\nH=\"\"\nI=\"\x01\"\nJ=\xff\n", map[string]string{})
	f("A="+strings.Repeat("x", maxText+1), map[string]string{})
}

func TestParseNames(t *testing.T) {
	f := func(content, want string) {
		t.Helper()
		if have := parseHostName([]byte(content)); have != want {
			t.Errorf("%q: %q, want %q", content, have, want)
		}
	}
	f("db-7\n", "db-7")
	f("\n# a comment\n  db-7.example.org  \nsecond\n", "db-7.example.org")
	f("", "")
	f("two words\n", "")
	f("(none)\n", "")
	f("\xff\n", "")
	f(strings.Repeat("x", maxName+1), "")
}

func TestParseIDs(t *testing.T) {
	f := func(parse func([]byte) string, content, want string) {
		t.Helper()
		if have := parse([]byte(content)); have != want {
			t.Errorf("%q: %q, want %q", content, have, want)
		}
	}
	f(parseMachineID, "3d1219c7c4c5404aaa1f6d2a48adfda4\n", "3d1219c7c4c5404aaa1f6d2a48adfda4")
	f(parseMachineID, "uninitialized\n", "")
	f(parseMachineID, "", "")
	f(parseMachineID, strings.Repeat("0", 32), "")
	f(parseMachineID, strings.Repeat("g", 32), "")
	f(parseUUID, "4C4C4544-0042-3510-8052-B4C04F4E3132\n", "4c4c4544-0042-3510-8052-b4c04f4e3132")
	f(parseUUID, "00000000-0000-0000-0000-000000000000", "")
	f(parseUUID, "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "")
	f(parseUUID, "Not Settable", "")
	f(parseUUID, "------------------------------------", "")
	f(parseUUID, "", "")
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\n"))
	f.Add([]byte("A='b'\nB=\"\\\"\"\n"))
	f.Add([]byte("# x\ndb-7\n"))
	f.Add([]byte("3d1219c7c4c5404aaa1f6d2a48adfda4\n"))
	f.Add([]byte("4C4C4544-0042-3510-8052-B4C04F4E3132\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		for key, value := range parseRelease(content) {
			if key == "" || value == "" || len(value) > maxText || !utf8.ValidString(value) || strings.ContainsAny(value, "\n\r\x00") {
				t.Fatalf("%q: %q is %q", content, key, value)
			}
		}
		if name := parseHostName(content); strings.ContainsAny(name, " \t\n\x00") || len(name) > maxName {
			t.Fatalf("%q: %q", content, name)
		}
		if id := parseMachineID(content); id != "" && len(id) != 32 {
			t.Fatalf("%q: %q", content, id)
		}
		if id := parseUUID(content); id != "" && len(id) != 36 {
			t.Fatalf("%q: %q", content, id)
		}
	})
}

// tree makes a host's root of files by name; "-> target" makes a link.
func tree(t *testing.T, files map[string]string) hostfs.Roots {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, isLink := strings.CutPrefix(content, "-> "); isLink {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(content), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return hostfs.NewRoots(root)
}

func values(attributes []entity.Attribute) map[string]string {
	all := make(map[string]string)
	for _, a := range attributes {
		all[a.Key] = a.Value
	}
	return all
}

func TestReadAnotherRoot(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	arch := machineArch()
	if arch == "" {
		t.Fatal("no architecture")
	}
	f := func(files, want map[string]string) {
		t.Helper()
		want["host.arch"], want["os.type"] = arch, "linux"
		if have := values(Read(tree(t, files))); !maps.Equal(have, want) {
			t.Errorf("%v, want %v", have, want)
		}
	}
	const id = "3d1219c7c4c5404aaa1f6d2a48adfda4"
	const release = "PRETTY_NAME=\"NixOS 25.11\"\nVERSION_ID=25.11\n"
	f(map[string]string{
		"etc/hostname": "db-7\n", "etc/machine-id": id + "\n",
		"etc/os-release": "-> ../usr/lib/os-release", "usr/lib/os-release": release,
	}, map[string]string{"host.name": "db-7", "host.id": id, "os.description": "NixOS 25.11", "os.version": "25.11"})
	// Absolute links stay below the root, or this would read our own files.
	f(map[string]string{
		"etc/hostname": "-> /etc/static/hostname", "etc/static/hostname": "db-8",
		"etc/machine-id": "-> /etc/nothing-there", "var/lib/dbus/machine-id": id,
		"etc/os-release": "-> /../../../../usr/lib/os-release", "usr/lib/os-release": release,
	}, map[string]string{"host.name": "db-8", "host.id": id, "os.description": "NixOS 25.11", "os.version": "25.11"})
	f(map[string]string{
		"etc/machine-id": "uninitialized\n", "etc/os-release": strings.Repeat("x", maxFile+1),
		"sys/class/dmi/id/product_uuid": "4C4C4544-0042-3510-8052-B4C04F4E3132\n",
	}, map[string]string{"host.id": "4c4c4544-0042-3510-8052-b4c04f4e3132"})
	f(nil, map[string]string{})
}

func TestReadDoesNotWaitForAPipe(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	roots := tree(t, map[string]string{"etc/machine-id": "x"})
	if err := unix.Mkfifo(filepath.Join(roots.Root, "etc/hostname"), 0o600); err != nil {
		t.Fatal(err)
	}
	if have := hostName(roots); have != "" {
		t.Errorf("host name %q", have)
	}
}

// The way for kernels without openat2: links that leave the root are refused.
func TestOpenInside(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	roots := tree(t, map[string]string{"etc/out": "-> /etc/passwd", "etc/in": "-> ../usr/x", "usr/x": "inside"})
	if file, err := openInside(roots.Root, "etc/out"); err == nil {
		_ = file.Close()
		t.Error("opened a file of another root")
	}
	file, err := openInside(roots.Root, "etc/in")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	content := make([]byte, 10)
	if n, _ := file.Read(content); string(content[:n]) != "inside" {
		t.Errorf("read %q", content[:n])
	}
}

// The kernel's own name is used below another root only when that root's first
// process is in our namespace.
func TestSharesUTS(t *testing.T) {
	own, err := os.Readlink("/proc/self/ns/uts")
	if err != nil {
		t.Fatal(err)
	}
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	f := func(uts, want string) {
		t.Helper()
		roots := tree(t, map[string]string{"etc/hostname": "of-the-file", "proc/1/ns/uts": "-> " + uts})
		if have := hostName(roots); have != want {
			t.Errorf("%s: %q, want %q", uts, have, want)
		}
	}
	f(own, name)
	f("uts:[1]", "of-the-file")
}

func TestReadThisHost(t *testing.T) {
	have := values(Read(hostfs.NewRoots("/")))
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if have["host.name"] != name || have["os.type"] != "linux" || have["host.arch"] == "" {
		t.Errorf("%v", have)
	}
}
