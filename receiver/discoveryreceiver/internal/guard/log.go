package guard

import (
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Of a text in the log as much stays from its beginning and from its end, where
// errors say what was done and why it went wrong.
const (
	longestHead = 1 << 10
	longestTail = 256
)

// shortLog is a log in which texts have an end.
type shortLog struct{ zapcore.Core }

// ShortLog returns a log that shortens what it is told: receivers quote what a
// container has answered.
func ShortLog(core zapcore.Core) zapcore.Core { return shortLog{core} }

// With implements [zapcore.Core].
func (l shortLog) With(fields []zapcore.Field) zapcore.Core {
	return shortLog{l.Core.With(shortFields(fields))}
}

// Check implements [zapcore.Core]. The log below is asked, since it may thin out.
func (l shortLog) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if l.Core.Check(e, nil) == nil {
		return ce
	}
	return ce.AddCore(e, l)
}

// Write implements [zapcore.Core].
func (l shortLog) Write(e zapcore.Entry, fields []zapcore.Field) error {
	e.Message = short(e.Message)
	return l.Core.Write(e, shortFields(fields))
}

// mostFields are more than receivers have of their own; file_log adds those of a record.
const mostFields = 16

// longestKey is longer than any name of an attribute that somebody has thought of.
const longestKey = 128

func shortFields(fields []zapcore.Field) []zapcore.Field {
	all := make([]zapcore.Field, 0, min(len(fields), mostFields+1))
	for i, field := range fields {
		if i == mostFields {
			return append(all, zap.Int("fields_left_out", len(fields)-i))
		}
		field.Key = field.Key[:min(len(field.Key), longestKey)]
		all = append(all, shortField(field))
	}
	return all
}

// shortField makes a text of what has no bounded size.
func shortField(field zapcore.Field) zapcore.Field {
	encoded := zapcore.NewMapObjectEncoder()
	field.AddTo(encoded)
	switch value := encoded.Fields[field.Key].(type) {
	case nil, bool, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, float32, float64, time.Duration, time.Time:
		return field
	case string:
		return zap.String(field.Key, short(value))
	default:
		return zap.String(field.Key, short(fmt.Sprint(value)))
	}
}

func short(text string) string {
	if len(text) <= longestHead+longestTail {
		return text
	}
	cut := fmt.Sprintf(" [%d bytes left out] ", len(text)-longestHead-longestTail)
	return strings.ToValidUTF8(text[:longestHead]+cut+text[len(text)-longestTail:], "")
}
