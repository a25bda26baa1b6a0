package programpages

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

const program = "/opt/my agent/tallyman"

// own is what a Go program has: code, constants, data; and the rest of the address space.
const own = `00400000-0316b000 r-xp 00000000 fe:00 10560586                           /opt/my agent/tallyman
Size:              46508 kB
Rss:               38572 kB
Pss:               38572 kB
Anonymous:             0 kB
Swap:                  0 kB
VmFlags: rd ex mr mw me 
0316b000-06670000 r--p 02d6b000 fe:00 10560586                           /opt/my agent/tallyman
Rss:               39764 kB
Anonymous:             0 kB
Swap:                  0 kB
06670000-0685d000 rw-p 06270000 fe:00 10560586                           /opt/my agent/tallyman
Rss:                1900 kB
Anonymous:           400 kB
Swap:                  0 kB
0685d000-088c7000 rw-p 00000000 00:00 0 
Rss:                 300 kB
Anonymous:           300 kB
Swap:                  0 kB
7fea57000000-7fea58000000 r--s 00001000 00:0f 12                         anon_inode:bpf-map
Rss:               16388 kB
Anonymous:             0 kB
Swap:                  0 kB
7fea5a000000-7fea5a100000 r--p 00000000 fe:00 77                         /opt/my agent/tallyman.db
Rss:                 100 kB
Anonymous:             0 kB
Swap:                  0 kB
`

func TestParseMappings(t *testing.T) {
	f := func(text string, want ...mapping) {
		t.Helper()
		got, err := parseMappings([]byte(text), program)
		require.NoError(t, err)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(mapping{})); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	}
	code := mapping{start: 0x400000, end: 0x316b000, mode: "r-xp", file: program, rss: 38572 << 10, counted: 3}
	constants := mapping{start: 0x316b000, end: 0x6670000, mode: "r--p", file: program, rss: 39764 << 10, counted: 3}
	f("")
	f(own, code, constants)
	// A breakpoint is a page that is not the file's any more.
	f(strings.Replace(own, "Anonymous:             0 kB", "Anonymous:             4 kB", 1), constants)
	// Such a page may have been swapped out.
	f(strings.Replace(own, "Swap:                  0 kB", "Swap:                  4 kB", 1), constants)
	// Nothing is known of what is not counted.
	f(strings.Replace(own, "Swap:                  0 kB\n", "", 1), constants)
	f(strings.ReplaceAll(own, "r--p", "r--s"), code)
	f(strings.ReplaceAll(own, program, program+" (deleted)"))
}

func TestParseMappingsRefuses(t *testing.T) {
	f := func(line string) {
		t.Helper()
		_, err := parseMappings([]byte(own+line), program)
		require.ErrorIs(t, err, errFormat)
		require.ErrorContains(t, err, strings.TrimSpace(line))
	}
	f("nonsense\n")
	f("00400000 r-xp 00000000 fe:00 1 /x\n")
	f("00500000-00400000 r-xp 00000000 fe:00 1 /x\n")
	f("00400000-00500000 r-xp\n")
	f("Rss:                 many kB\n")
	f("Rss:                 12 MB\n")
	f("Anonymous:            -1 kB\n")
	f("Rss:  9007199254740993 kB\n")
}

// Whatever is read, what comes out may be released: it is the program's, and nobody has
// written there.
func FuzzParseMappings(f *testing.F) {
	f.Add(own)
	f.Add("00400000-0316b000 r-xp 0 fe:00 1 " + program + "\nRss: 1 kB\nAnonymous: 1 kB\nSwap: 0 kB\n")
	f.Fuzz(func(t *testing.T, text string) {
		found, err := parseMappings([]byte(text), program)
		for _, m := range found {
			if err != nil || m.end < m.start || m.rss < 0 || !m.releasable(program) || m.mode[1] != '-' {
				t.Errorf("%+v, %v", m, err)
			}
		}
	})
}
