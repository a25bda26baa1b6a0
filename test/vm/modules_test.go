package main

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/test/vm/machine"
)

func TestModuleName(t *testing.T) {
	f := func(file, want string) {
		t.Helper()
		if got := moduleName(file); got != want {
			t.Errorf("moduleName(%q) = %q, want %q", file, got, want)
		}
	}
	f("kernel/arch/x86/crypto/crc32c-intel.ko", "crc32c_intel")
	f("kernel/drivers/net/veth.ko.xz", "veth")
	f("nf_tables", "nf_tables")
}

func TestParseDepends(t *testing.T) {
	f := func(info string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, parseDepends([]byte(info))); diff != "" {
			t.Errorf("parseDepends(%q) (-want +got):\n%s", info, diff)
		}
	}
	f("license=GPL\x00depends=nf_nat,nf_tables\x00name=nft_nat\x00", "nf_nat", "nf_tables")
	f("depends=libcrc32c\x00", "libcrc32c")
	f("license=GPL\x00depends=\x00")
	f("")
}

func FuzzParseDepends(f *testing.F) {
	f.Add([]byte("license=GPL\x00depends=nf_nat,nf_tables\x00name=nft_nat\x00"))
	f.Add([]byte("depends=\x00depends=a"))
	f.Fuzz(func(t *testing.T, info []byte) {
		names := parseDepends(info)
		if len(names) > 0 && !bytes.Contains(info, []byte("depends="+strings.Join(names, ","))) {
			t.Errorf("parseDepends(%q) made up %q", info, names)
		}
	})
}

func TestModuleSetRefusesUnknown(t *testing.T) {
	img := machine.Image{Modules: t.TempDir()}
	require.NoError(t, os.WriteFile(filepath.Join(img.Modules, "modules.builtin"), []byte("kernel/fs/ext4/ext4.ko\n"), 0o644))
	set, err := openModules(img, t.TempDir())
	require.NoError(t, err)
	require.NoError(t, set.add(context.Background(), "ext4"), "built in")
	require.Empty(t, set.order)
	require.ErrorIs(t, set.add(context.Background(), "veth"), fs.ErrNotExist)
}
