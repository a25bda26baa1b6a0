package guard_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tallymanhq/tallyman/receiver/discoveryreceiver/internal/guard"
)

// Wherever a long text stands in a log, its beginning and its end stay.
func TestShortLog(t *testing.T) {
	long := "parse " + strings.Repeat("ä", 1<<20) + " of web: unexpected end"
	core, seen := observer.New(zapcore.InfoLevel)
	log := zap.New(guard.ShortLog(core)).With(zap.String("with", long), zap.Int("number", 7))
	log.Warn(long, zap.String("text", long), zap.Error(errors.New(long)), zap.ByteString("bytes", []byte(long)), zap.Stringer("buffer", bytes.NewBufferString(long)))
	log.Warn("plain", zap.Error(nil), zap.NamedError("cause", errors.New("as it was")))
	entries := seen.TakeAll()
	if len(entries) != 2 {
		t.Fatalf("%d lines", len(entries))
	}
	check := func(where, text string) {
		t.Helper()
		isCut := strings.Contains(text, " bytes left out] ") && len(text) < 1400
		if !isCut || !strings.HasPrefix(text, "parse ää") || !strings.HasSuffix(text, "ä of web: unexpected end") || strings.ToValidUTF8(text, "?") != text {
			t.Errorf("%s became %.2000q", where, text)
		}
	}
	check("the message", entries[0].Message)
	fields := entries[0].ContextMap()
	for _, key := range []string{"with", "text", "error", "bytes", "buffer"} {
		text, _ := fields[key].(string)
		check(key, text)
	}
	if len(fields) != 6 || fields["number"] != int64(7) {
		t.Errorf("%d fields, the number is %v", len(fields), fields["number"])
	}
	if fields := entries[1].ContextMap(); entries[1].Message != "plain" || fields["cause"] != "as it was" {
		t.Errorf("a short line became %q %v", entries[1].Message, fields["cause"])
	}
}

// The attributes of a record have any name, any form and any number.
func TestShortLogOfARecord(t *testing.T) {
	core, seen := observer.New(zapcore.InfoLevel)
	fields := []zap.Field{zap.Any("body", map[string]any{"a": strings.Repeat("x", 1<<20)}), zap.Int(strings.Repeat("k", 1<<20), 1)}
	for i := range 1000 {
		fields = append(fields, zap.Int(strings.Repeat("n", i+1), i))
	}
	zap.New(guard.ShortLog(core)).Warn("refused", fields...)
	got := seen.TakeAll()[0].ContextMap()
	if text, _ := got["body"].(string); len(text) > 1400 || !strings.HasPrefix(text, "map[a:xxx") {
		t.Errorf("the body became %.2000q", got["body"])
	}
	size := 0
	for key := range got {
		size += len(key)
	}
	if len(got) > 20 || size > 4096 || got["fields_left_out"] == nil {
		t.Errorf("%d fields, their names have %d bytes", len(got), size)
	}
}

// What the log below leaves out stays out: lines below its level, and those of which
// it has had enough.
func TestShortLogAsks(t *testing.T) {
	core, seen := observer.New(zapcore.WarnLevel)
	log := zap.New(guard.ShortLog(zapcore.NewSamplerWithOptions(core, soon, 3, 0)))
	for range 10 {
		log.Info("quiet")
		log.Warn("loud")
	}
	if n := seen.Len(); n != 3 || seen.FilterMessage("loud").Len() != n {
		t.Errorf("%d lines", n)
	}
}
