package command_test

import (
	"strings"
	"testing"

	"github.com/tallymanhq/tallyman/internal/command"
)

func TestProgram(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		if got := command.Program(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	f("", "")
	f(" \t\n", "")
	f("nginx", "nginx")
	f("/usr/sbin/nginx -g daemon", "/usr/sbin/nginx")
	f(" /docker-entrypoint.sh\n", "/docker-entrypoint.sh")
	f("mysql -u root -phunter2", "mysql")
	f("mysql\t-phunter2", "mysql")
	f("curl https://user:hunter2@example.org/", "curl")
	f("/nix/store/s66mzxpvicwk07gjbjfw9izjfa797vsw-hello-2.12/bin/hello", "/nix/store/s66mzxpvicwk07gjbjfw9izjfa797vsw-hello-2.12/bin/hello")
	// What is no program.
	f("***", "")
	f("-phunter2", "")
	f("--password=hunter2", "")
	f("PGPASSWORD=hunter2 psql", "")
	f("password:hunter2", "")
	f("https://user:hunter2@example.org/run", "")
	f("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlLWhlcmU", "")
	f("/opt/9f86d081884c7d659a2feaa0c55ad015a3bf4f1b", "")
	f(strings.Repeat("a/", 200), "")
}
