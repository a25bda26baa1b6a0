package eventstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// written makes a folder with frames of two events each, bodies 0, 1, 2, ... It
// ends closed, or as after a kill.
func written(t *testing.T, frames int, closed bool) (dir, path string) {
	t.Helper()
	dir = t.TempDir()
	s, _ := open(t, quiet(dir))
	for i := range frames {
		for j := range 2 {
			n := 2*i + j
			s.Append(one(start.Add(time.Duration(n)*time.Second), "test.event", "c1", strconv.Itoa(n)))
		}
		mustFlush(t, s)
	}
	if closed {
		mustClose(t, s)
		return dir, filepath.Join(dir, "00000001.tev")
	}
	// What a killed process leaves, in a folder of its own.
	b, err := os.ReadFile(filepath.Join(dir, "00000001.tev.open"))
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	path = filepath.Join(dir, "00000001.tev.open")
	write(t, path, b)
	write(t, filepath.Join(dir, openMark), nil)
	return dir, path
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// change rewrites a file.
func change(t *testing.T, path string, f func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, f(b))
}

// frameAt returns where frame n of an encoded segment starts.
func frameAt(t *testing.T, b []byte, n int) int {
	t.Helper()
	at := fileHeaderSize
	for range n {
		h, err := parseHeader(b[at:])
		if err != nil {
			t.Fatal(err)
		}
		at += int(h.size())
	}
	return at
}

func TestDamage(t *testing.T) {
	none := func(b []byte) []byte { return b }
	f := func(name string, harm func([]byte) []byte, want int, told string) {
		t.Run(name, func(t *testing.T) {
			t.Helper()
			dir, path := written(t, 3, strings.HasPrefix(name, "closed"))
			change(t, path, harm)
			s, found := open(t, quiet(dir))
			check := func(state string) {
				t.Helper()
				events := scanAll(t, s, Query{})
				if len(events) != want {
					t.Errorf("%s: %v are left, want the first %d", state, bodies(events), want)
				}
			}
			check("opened")
			if text := strings.Join(found.Damaged, "; "); !strings.Contains(text, told) || told == "" && text != "" {
				t.Errorf("recovery says %q, want %q", text, told)
			}
			s.Append(one(start.Add(time.Hour), "test.event", "c1", "new"))
			want++
			mustClose(t, s)
			s, found = open(t, quiet(dir))
			check("opened again")
			if found.Text() != "" {
				t.Errorf("the second start has something to tell: %s", found.Text())
			}
		})
	}
	f("killed", none, 6, "")
	f("killed, cut within a payload", func(b []byte) []byte { return b[:len(b)-1] }, 4, "bytes lost")
	f("killed, cut within a header", func(b []byte) []byte { return b[:frameAt(t, b, 2)+10] }, 4, "10 bytes lost")
	f("killed, cut within the file header", func(b []byte) []byte { return b[:7] }, 0, "7 bytes lost")
	f("killed, empty", func([]byte) []byte { return nil }, 0, "0 bytes of file header")
	f("killed, payload", func(b []byte) []byte {
		b[frameAt(t, b, 1)+frameHeaderSize+5] ^= 1
		return b
	}, 2, "checksum of the payload differs")
	f("killed, header", func(b []byte) []byte {
		b[frameAt(t, b, 1)+30] ^= 1
		return b
	}, 2, "checksum differs")
	f("killed, zeros behind", func(b []byte) []byte { return append(b, make([]byte, 4096)...) }, 6, "4096 bytes lost")
	f("closed", none, 6, "")
	f("closed, footer", func(b []byte) []byte {
		b[len(b)-trailerSize-9] ^= 1
		return b
	}, 6, "checksum differs")
	f("closed, no trailer", func(b []byte) []byte { return b[:len(b)-3] }, 6, "none at the end")
	f("closed, footer of another length", func(b []byte) []byte {
		binary.LittleEndian.PutUint32(b[len(b)-trailerSize:], 7)
		return b
	}, 6, "footer")
}

// TestDamagedClosedFrame: the footer is good, a payload is not.
func TestDamagedClosedFrame(t *testing.T) {
	dir, path := written(t, 3, true)
	change(t, path, func(b []byte) []byte {
		b[fileHeaderSize+frameHeaderSize+9] ^= 1
		return b
	})
	var log bytes.Buffer
	o := quiet(dir)
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	s, found := open(t, o)
	if found.Text() != "" {
		t.Errorf("recovery reads payloads: %s", found.Text())
	}
	s.Append(one(start, "test.event", "c1", "new"))
	if got := bodies(scanAll(t, s, Query{})); !slices.Equal(got, []string{"new"}) || s.Stats().Damaged != 1 {
		t.Errorf("%v, %d damaged", got, s.Stats().Damaged)
	}
	scanAll(t, s, Query{})
	if told := strings.Count(log.String(), path); told != 1 {
		t.Errorf("the damage is told %d times: %s", told, &log)
	}
	reader, _, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	if err := reader.Scan(t.Context(), Query{}, func(Event) bool { return true }); !errors.Is(err, errDamaged) {
		t.Errorf("reader: %v", err)
	}
}

func TestUnknownVersion(t *testing.T) {
	dir, path := written(t, 1, true)
	change(t, path, func(b []byte) []byte { b[4] = 9; return b })
	other := filepath.Join(dir, "00000002.tev")
	write(t, other, []byte("something else altogether"))
	s, found := open(t, quiet(dir))
	if len(found.Skipped) != 2 || !strings.Contains(found.Skipped[0], "version 9") || found.Text() == "" {
		t.Errorf("recovery: %+v", found)
	}
	s.Append(one(start, "test.event", "", "new"))
	if got := bodies(scanAll(t, s, Query{})); !slices.Equal(got, []string{"new"}) {
		t.Errorf("%v", got)
	}
	mustClose(t, s)
	if got := names(t, dir); !slices.Equal(got, []string{"00000001.tev", "00000002.tev", "00000003.tev"}) {
		t.Errorf("the folder has %v", got)
	}
}

// TestUnknownKind puts a frame of another kind between others.
func TestUnknownKind(t *testing.T) {
	dir, path := written(t, 2, false)
	payload := []byte("of a later version")
	h := header{kind: 77, length: uint32(len(payload)), crc: checksum(payload), events: 5}
	change(t, path, func(b []byte) []byte {
		return slices.Insert(b, frameAt(t, b, 1), append(h.append(nil), payload...)...)
	})
	for state := range 2 {
		s, found := open(t, quiet(dir))
		if got := bodies(scanAll(t, s, Query{})); !slices.Equal(got, []string{"0", "1", "2", "3"}) {
			t.Errorf("start %d: %v", state, got)
		}
		if stats := s.Stats(); stats.UnknownFrames != 1 || stats.Stored != 4 || found.Events != 4 || len(found.Damaged) != 0 {
			t.Errorf("start %d: %+v, %+v", state, stats, found)
		}
		mustClose(t, s) // merges: the second start reads what that wrote
	}
	b, err := os.ReadFile(filepath.Join(dir, "00000001.tev"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), string(payload)) {
		t.Error("the frame was not kept")
	}
}

// TestInterruptedMerge finds both forms of a segment, and half a third.
func TestInterruptedMerge(t *testing.T) {
	dir, path := written(t, 2, true)
	_, openPath := written(t, 2, false)
	b, err := os.ReadFile(openPath)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path+".open", b)
	write(t, path+".tmp", b[:50])
	s, _ := open(t, quiet(dir))
	if got := bodies(scanAll(t, s, Query{})); !slices.Equal(got, []string{"0", "1", "2", "3"}) {
		t.Errorf("%v", got)
	}
	mustClose(t, s)
	if got := names(t, dir); !slices.Equal(got, []string{"00000001.tev"}) {
		t.Errorf("the folder has %v", got)
	}
}
