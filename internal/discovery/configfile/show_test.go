package configfile_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tallymanhq/tallyman/internal/discovery/configfile"
)

func TestMasked(t *testing.T) {
	const id = "4f1c0de5a7b3c1d2e3f405162738495a6b7c8d9eaf0b1c2d3e4f5061728394a5"
	got := configfile.Masked(map[string]any{
		"endpoint": "http://10.0.0.2:80/status", "password": "hunter2", "pin": 1234, "port": 80,
		"tls":     map[string]any{"insecure": true, "key_file": "/etc/key"},
		"auth":    map[string]any{"username": "bob", "enabled": true, "nothing": nil},
		"tokens":  []any{"a", "${env:TOKEN}"},
		"api_key": "${file:/run/secrets/key}",
		"secret":  "${env:S:-hunter2}", "root": "${env:ROOT:-/}", "bare": "${X}", "empty_password": "",
		"mixed_token": "Bearer ${env:TOKEN}", "header": "Bearer ${env:TOKEN}",
		"dsn2":              "postgres://bob:hunter2@10.0.0.2/db",
		"include":           []any{"/var/lib/docker/containers/" + id + "/" + id + "-json.log"},
		"foreign":           "5a" + id[2:],
		"provided_password": "${yaml:hunter2}",
		"params":            map[any]any{1: map[string]any{"password": "hunter2"}, "a": "b"},
		"args":              []any{"--token", "hunter2", "--verbose", "--password=x", "plain"},
	}, id)
	want := map[string]any{
		"endpoint": "http://10.0.0.2:80/status", "password": "***", "pin": "***", "port": 80,
		"tls":     map[string]any{"insecure": true, "key_file": "***"},
		"auth":    map[string]any{"username": "***", "enabled": true, "nothing": nil},
		"tokens":  []any{"***", "${env:TOKEN}"},
		"api_key": "${file:/run/secrets/key}",
		"secret":  "${env:S:-***}", "root": "${env:ROOT:-/}", "bare": "${X}", "empty_password": "",
		"mixed_token": "***", "header": "Bearer ${env:TOKEN}",
		"dsn2":              "***",
		"include":           []any{"/var/lib/docker/containers/" + id + "/" + id + "-json.log"},
		"foreign":           "***",
		"provided_password": "***",
		"params":            map[string]any{"1": map[string]any{"password": "***"}, "a": "b"},
		"args":              []any{"--token", "***", "--verbose", "***", "plain"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestText(t *testing.T) {
	got, err := configfile.Text(map[string]any{"b": []any{1, "x"}, "a": map[string]any{"c": "d"}}, "> ")
	if want := "> a:\n>   c: d\n> b:\n>   - 1\n>   - x\n"; err != nil || got != want {
		t.Errorf("%q %v", got, err)
	}
	if got, err := configfile.Text(nil, "> "); err != nil || got != "" {
		t.Errorf("%q %v", got, err)
	}
}
