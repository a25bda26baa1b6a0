package redact

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/tallymanhq/tallyman/internal/secret"
)

// JSON masks the secrets in a JSON text: values of keys that announce one, lists
// of arguments and of variables by their key (argv, Cmd, Args, Entrypoint; Env),
// and every other string as text. Numbers stay as they were written.
func (r *Redactor) JSON(text []byte) ([]byte, error) {
	v, err := r.parsed(text)
	if err != nil {
		return nil, err
	}
	out, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return nil, fmt.Errorf("redact json: %w", err)
	}
	return append(out, '\n'), nil
}

// Lines masks lines of JSON, each as JSON does.
func (r *Redactor) Lines(text []byte) ([]byte, error) {
	var out []byte
	for line := range bytes.Lines(text) {
		v, err := r.parsed(line)
		if err != nil {
			return nil, err
		}
		masked, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("redact json: %w", err)
		}
		out = append(append(out, masked...), '\n')
	}
	return out, nil
}

// parsed is one value without its secrets.
func (r *Redactor) parsed(text []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return nil, fmt.Errorf("redact json: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, fmt.Errorf("redact json: %w", errMore)
	}
	return r.value("", v), nil
}

var errMore = errors.New("more than one value")

func (r *Redactor) value(key string, v any) any {
	switch v := v.(type) {
	case string:
		if v != "" && v != Mask && secret.SensitiveName(key) {
			r.count(Keys)
			return Mask
		}
		return r.Text(v)
	case []any:
		return r.list(key, v)
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, child := range v {
			out[r.Text(name)] = r.value(name, child)
		}
		return out
	}
	return v
}

func (r *Redactor) list(key string, list []any) any {
	words, ok := allStrings(list)
	switch {
	case ok && strings.EqualFold(key, "env"):
		return r.Env(words)
	case ok && isArgs(key):
		return r.Args(words)
	}
	out := make([]any, len(list))
	for i, v := range list {
		out[i] = r.value(key, v)
	}
	return out
}

func isArgs(key string) bool {
	for _, name := range []string{"argv", "cmd", "args", "entrypoint", "command"} {
		if strings.EqualFold(key, name) {
			return true
		}
	}
	return false
}

func allStrings(list []any) ([]string, bool) {
	words := make([]string, len(list))
	for i, v := range list {
		word, ok := v.(string)
		if !ok {
			return nil, false
		}
		words[i] = word
	}
	return words, true
}
