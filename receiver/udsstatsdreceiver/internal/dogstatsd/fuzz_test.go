package dogstatsd_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/dogstatsd"
)

// A metric is read as the reference reads it. Events and checks have titles and
// names, and their lengths hold.
func FuzzLine(f *testing.F) {
	for _, row := range vectors(f, "dogstatsd-lines.tsv") {
		f.Add([]byte(unquoted(f, row[1])))
	}
	f.Add([]byte("m:1:nan:2|h|@0.1|#" + strings.Repeat("a,", 101)))
	f.Add([]byte("m:12345678901234567|g|@.|T+5|c:|e:|card:"))
	f.Fuzz(func(t *testing.T, line []byte) {
		if len(line) == 0 || bytes.ContainsAny(line, "\n") || line[len(line)-1] == '\r' {
			return
		}
		var p dogstatsd.Parser
		lines := 0
		for kind := range p.Lines(line, false) {
			lines++
			checkLine(t, &p, kind, string(line))
		}
		if lines != 1 {
			t.Fatalf("%d lines in %q", lines, line)
		}
	})
}

func checkLine(t *testing.T, p *dogstatsd.Parser, kind dogstatsd.Kind, line string) {
	t.Helper()
	switch {
	case kind == dogstatsd.KindEvent:
		if e := p.Event(); len(e.Title) == 0 || len(e.Title)+len(e.Text) > len(line) {
			t.Fatalf("%q became %q, %q", line, e.Title, e.Text)
		}
	case kind == dogstatsd.KindCheck:
		if c := p.Check(); len(c.Name) == 0 || c.Status > dogstatsd.StatusUnknown {
			t.Fatalf("%q became %+v", line, c)
		}
	case len(line) > dogstatsd.MaxLine || strings.HasPrefix(line, "_e{") || strings.HasPrefix(line, "_sc"):
		if kind != dogstatsd.KindRejected {
			t.Fatalf("%q became kind %d", line, kind)
		}
	default:
		checkMetric(t, p, kind, line)
	}
	if _, reason := p.Rejected(); kind == dogstatsd.KindRejected && (!reason.Loses() || p.Counts.Of(reason) == 0) {
		t.Fatalf("%q rejected for %s, counted %v", line, reason, renderCounts(&p.Counts))
	}
}

func checkMetric(t *testing.T, p *dogstatsd.Parser, kind dogstatsd.Kind, line string) {
	t.Helper()
	want, ok := reference(line)
	if ok != (kind == dogstatsd.KindMetric) {
		_, reason := p.Rejected()
		t.Fatalf("%q: kind %d, %s; by the reference %t", line, kind, reason, ok)
	}
	if !ok {
		return
	}
	if diff := cmp.Diff(renderSample(&want), renderSample(p.Sample())); diff != "" {
		t.Fatalf("%q: (-want +got)\n%s", line, diff)
	}
}

// A packet means what its lines mean one by one, each for a new parser: nothing
// is left over from one line to the next. Text that was cleaned is valid.
func FuzzPacket(f *testing.F) {
	var all []byte
	for _, row := range vectors(f, "dogstatsd-lines.tsv") {
		all = append(all, unquoted(f, row[1])+"\n"...)
	}
	f.Add(all, false, false)
	f.Add([]byte("a:1|c\r\r\n\n_e{1,2}:\\|\\nx|d:5\r\n_sc|a|1|m:\\nm\\:"), true, false)
	f.Add([]byte("a:1|c|c:in-5\nb:2|g"), false, true)
	f.Add([]byte("a:1|c|#x,y\nb\nc:2.5|ms|@0.5|#z\r\n\nd:1:2|h|#\ne:-12345.75|d"), false, false)
	f.Fuzz(func(t *testing.T, packet []byte, truncated, newline bool) {
		before := bytes.Clone(packet)
		p := dogstatsd.Parser{RequireNewline: newline}
		got := read(&p, string(packet), truncated)

		trusted := packet
		if truncated || newline {
			trusted = packet[:bytes.LastIndexByte(packet, '\n')+1]
		}
		var want []string
		counts := new(dogstatsd.Counts)
		if truncated {
			counts.Add(dogstatsd.Truncated, 1)
		} else if len(trusted) < len(packet) {
			counts.Add(dogstatsd.Unterminated, 1)
		}
		for line := range bytes.SplitSeq(trusted, []byte("\n")) {
			var alone dogstatsd.Parser
			if line = bytes.TrimSuffix(line, []byte("\r")); len(line) > 0 {
				// With an end of its own, the line keeps a second \r.
				want = append(want, read(&alone, string(line)+"\r\n", false)[:1]...)
				alone.Counts.MoveTo(counts)
			}
		}
		want = append(want, renderCounts(counts)...)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%q: (-want +got)\n%s", packet, diff)
		}
		if !bytes.Equal(before, packet) {
			t.Fatalf("%q was changed to %q", before, packet)
		}
		checkClean(t, packet)
	})
}

func checkClean(t *testing.T, text []byte) {
	t.Helper()
	for _, clean := range []func([]byte) (string, bool){dogstatsd.Clean, dogstatsd.CleanText} {
		got, changed := clean(text)
		if !utf8.ValidString(got) || changed != (got != string(text)) {
			t.Fatalf("%q became %q, changed %t", text, got, changed)
		}
		if again, changed := clean([]byte(got)); changed {
			t.Fatalf("%q became %q, and then %q", text, got, again)
		}
	}
}

// However a stream is cut into reads, the frames are those that its bytes say.
func FuzzStream(f *testing.F) {
	f.Add([]byte(frame("a:1|c\n")+frame("b:2|g")), []byte{1})
	f.Add([]byte(frame("a")+frame("")+frame("b")), []byte{3, 200})
	f.Add([]byte(frame(strings.Repeat("x", 20000))+"\xff\xff\xff\xff"), []byte{255, 255})
	f.Fuzz(func(t *testing.T, stream, sizes []byte) {
		want, wantErr := referenceFrames(stream)
		got, counts, err := packets(&choppy{stream, sizes, 0})
		if err != wantErr {
			t.Fatalf("%v, want %v", err, wantErr)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got)\n%s", diff)
		}
		if counts.Empty() != (err == io.EOF) {
			t.Fatalf("%v, counted %v", err, renderCounts(counts))
		}
	})
}

func referenceFrames(stream []byte) (frames []string, err error) {
	for len(stream) >= 4 {
		size := int(binary.LittleEndian.Uint32(stream))
		switch stream = stream[4:]; {
		case size == 0:
			return frames, dogstatsd.ErrFrameEmpty
		case size > dogstatsd.MaxFrame:
			return frames, dogstatsd.ErrFrameTooLong
		case size > len(stream):
			return frames, io.ErrUnexpectedEOF
		}
		frames, stream = append(frames, string(stream[:size])), stream[size:]
	}
	if len(stream) > 0 {
		return frames, io.ErrUnexpectedEOF
	}
	return frames, io.EOF
}

// choppy reads as many bytes at a time as sizes says, again and again.
type choppy struct {
	rest, sizes []byte
	next        int
}

func (c *choppy) Read(b []byte) (int, error) {
	if len(c.rest) == 0 {
		return 0, io.EOF
	}
	size := len(c.rest)
	if len(c.sizes) > 0 {
		size = 1 + int(c.sizes[c.next%len(c.sizes)])*16
		c.next++
	}
	n := copy(b[:min(len(b), size)], c.rest)
	c.rest = c.rest[n:]
	return n, nil
}
