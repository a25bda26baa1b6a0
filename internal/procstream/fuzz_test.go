package procstream

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// What parseStat says, written as the kernel would and parsed again, is the
// same; what it does not understand is ErrMalformed and nothing else.
func FuzzParseStat(f *testing.F) {
	for _, line := range []string{statShell, statKthread, statWorker, statZombie, "", "1 (a) R 2 ) S 3 (", "1 ()"} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseStat(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) || s != (Stat{}) {
				t.Fatalf("%+v, %v", s, err)
			}
			return
		}
		if s.PID < 0 || s.PPID < 0 {
			t.Fatalf("negative id in %+v", s)
		}
		if !bytes.Contains(bytes.ToValidUTF8(b, []byte("\uFFFD")), []byte(" ("+s.Comm+")")) {
			t.Fatalf("name %q is not in %q", s.Comm, b)
		}
		again, err := parseStat(formatStat(s))
		if err != nil || again != s {
			t.Fatalf("%+v became %+v, %v", s, again, err)
		}
	})
}

func formatStat(s Stat) []byte {
	state := 'S'
	if s.Ended {
		state = 'Z'
	}
	b := fmt.Appendf(nil, "%d (%s) %c %d 0 0 0 -1 4194304 ", s.PID, s.Comm, state, s.PPID)
	b = append(b, "0 0 0 0 0 0 0 0 20 0 1 0 "...)
	return fmt.Appendf(b, "%d 0 %d 0\n", s.Start, s.RSS)
}

// The result stands at the end of a line of its own, and lines that are not
// NSpid do not matter.
func FuzzParseVPID(f *testing.F) {
	for _, status := range []string{statusNested, statusOld, "", "NSpid:", "NSpid:\t1\t-2\n", "x\nNSpid:3"} {
		f.Add([]byte(status))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		vpid, err := parseVPID(b)
		if err != nil && (!errors.Is(err, ErrMalformed) || vpid != 0) || vpid < 0 {
			t.Fatalf("%d, %v", vpid, err)
		}
		if vpid > 0 && !slices.ContainsFunc(bytes.Split(b, []byte("\n")), func(line []byte) bool { return endsIn(line, vpid) }) {
			t.Fatalf("%d is not in %q", vpid, b)
		}
		more, errMore := parseVPID(append([]byte("Name:\tNSpid:\t9\nTgid:\t8\n"), b...))
		if more != vpid || (err == nil) != (errMore == nil) {
			t.Fatalf("%d, %v became %d, %v by lines that do not matter", vpid, err, more, errMore)
		}
	})
}

func endsIn(line []byte, vpid int) bool {
	fields := bytes.Fields(bytes.TrimPrefix(line, []byte("NSpid:")))
	if !bytes.HasPrefix(line, []byte("NSpid:")) || len(fields) == 0 {
		return false
	}
	n, err := strconv.Atoi(string(fields[len(fields)-1]))
	return err == nil && n == vpid
}

// Every line gives one id or, if it is 0, none; what was there before stays.
func FuzzParsePids(f *testing.F) {
	for _, procs := range []string{"", "1\n22\n333\n", "0\n0\n5\n", "1\n\n", "-1\n", "4194304", "x"} {
		f.Add([]byte(procs))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		pids, err := parsePids(b, []int{-7})
		if err != nil && !errors.Is(err, ErrMalformed) {
			t.Fatal(err)
		}
		if pids[0] != -7 || slices.ContainsFunc(pids[1:], func(pid int) bool { return pid <= 0 }) {
			t.Fatalf("%q gives %v", b, pids)
		}
		if err != nil {
			return
		}
		i := 1
		for line := range bytes.Lines(b) {
			if !bytes.ContainsAny(line, "123456789") {
				continue
			}
			text := strings.TrimLeft(string(line), "+0")
			if i == len(pids) || strings.TrimSuffix(text, "\n") != strconv.Itoa(pids[i]) {
				t.Fatalf("%q gives %v", b, pids)
			}
			i++
		}
		if i != len(pids) {
			t.Fatalf("%q gives %v", b, pids)
		}
	})
}
