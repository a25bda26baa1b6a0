package redact_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/redact"
)

func TestArgs(t *testing.T) {
	f := func(want string, argv ...string) {
		t.Helper()
		var r redact.Redactor
		before := strings.Join(argv, " ")
		if diff := cmp.Diff(want, strings.Join(r.Args(argv), " ")); diff != "" {
			t.Errorf("%q: -want +got\n%s", argv, diff)
		}
		require.Equal(t, before, strings.Join(argv, " "), "the list was changed")
	}
	f("")
	f("app --password=*** --port=80", "app", "--password=hunter2", "--port=80")
	f("app --password *** --port 80", "app", "--password", "hunter2", "--port", "80")
	f("app -token *** run", "app", "-token", "hunter2", "run")
	f("app --api-key --verbose", "app", "--api-key", "--verbose")
	f("app DB_PASS=*** MODE=x", "app", "DB_PASS=a,b&c;d", "MODE=x")
	f("curl -u bob:*** http://x", "curl", "-u", "bob:hunter2", "http://x")
	f("curl --user=bob:*** http://x", "curl", "--user=bob:hunter2", "http://x")
	f("smbclient -U bob%***", "smbclient", "-U", "bob%hunter2")
	f("curl -H Authorization: ***", "curl", "-H", "Authorization: Bearer abc def")
	f("psql postgres://***@db:5432/shop?sslmode=off", "psql", "postgres://bob:hun/ter2@db:5432/shop?sslmode=off")
	f("/usr/bin/mysqldump -p*** shop", "/usr/bin/mysqldump", "-phunter2", "shop")
	f("sshpass -p *** ssh host", "sshpass", "-p", "hunter2", "ssh", "host")
	f("redis-cli -a *** ping", "redis-cli", "-a", "hunter2", "ping")
	f("docker login -u bob -p ***", "docker", "login", "-u", "bob", "-p", "hunter2")
	f("docker run -p 80:80 web", "docker", "run", "-p", "80:80", "web")
	f("sh -c TOKEN=*** exec app", "sh", "-c", "TOKEN=hunter2 exec app")
	f("sh -c exec env TOKEN=*** app", "sh", "-c", "exec env TOKEN=hunter2 app")
	f("sh -c curl 'https://***@x/y'", "sh", "-c", "curl 'https://u:p@x/y'")
	f("sh -c export DB_PASS=***; mysql -uroot -p*** shop", "sh", "-c", "export DB_PASS=hunter2; mysql -uroot -phunter2 shop")
	f("bash -ec A=1 sudo mysqladmin -p*** ping||exit 1", "bash", "-ec", "A=1 sudo mysqladmin -p'hunter2 b' ping||exit 1")
	f("sh -c test $(redis-cli -a *** ping) = PONG", "sh", "-c", "test $(redis-cli -a hunter2 ping) = PONG")
	f("docker exec db sh -c mysql -p***", "docker", "exec", "db", "sh", "-c", "mysql -phunter2")
	f("sh -c while true; do curl -u bob:*** http://x; sleep 1; done", "sh", "-c", "while true; do curl -u bob:hunter2 http://x; sleep 1; done")
	f("sh -c echo \"a; b\" 'c", "sh", "-c", "echo \"a; b\" 'c")
	f("sh -c", "sh", "-c")
	f("tar -c file", "tar", "-c", "file")
	f("mosquitto_pub -P *** -u bob -t a/b", "mosquitto_pub", "-P", "hunter2", "-u", "bob", "-t", "a/b")
	f("openssl enc -aes256 -k ***", "openssl", "enc", "-aes256", "-k", "hunter2")
	f("zip -P*** x.zip", "zip", "-Phunter2", "x.zip")
	f("rabbitmqctl change_password bob ***", "rabbitmqctl", "change_password", "bob", "hunter2")
	f("rabbitmqctl list_users --silent", "rabbitmqctl", "list_users", "--silent")
	f("htpasswd -nb bob ***", "htpasswd", "-nb", "bob", "hunter2")
	f("app ***", "app", "ghp_0123456789abcdefghij0123456789abcdef")
	f("app /srv/data/releases/2026-11-22T03:12:07Z/index.html --workers=4", "app", "/srv/data/releases/2026-11-22T03:12:07Z/index.html", "--workers=4")
	f("git clone https://host:8443/a@v2", "git", "clone", "https://host:8443/a@v2")
}

func TestText(t *testing.T) {
	f := func(want, text string) {
		t.Helper()
		var r redact.Redactor
		require.Equal(t, want, r.Text(text))
		counted := r.Counts()[redact.Texts]
		require.Equal(t, want != text, counted > 0, "%d counted", counted)
		require.Equal(t, want, r.Text(want), "masking twice")
	}
	f("", "")
	f("a plain line\nand: another, at 03:12:07", "a plain line\nand: another, at 03:12:07")
	f("password=*** next", "password=hunter2 next")
	f(`{"password": "***", "port": 80}`, `{"password": "hunter2 three", "port": 80}`)
	f("Cookie: ***\nHost: x", "Cookie: a=b; c=d\nHost: x")
	f("before *** after", "before -----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY----- after")
	f("before ***", "before -----BEGIN PRIVATE KEY-----\nMIIE")
	f("http://***@a/ http://b/", "http://u:p@a/ http://b/")
	f("id 123e4567-e89b-12d3-a456-426614174000", "id 123e4567-e89b-12d3-a456-426614174000")
	f("key ***, x", "key 9f86d081884c7d659a2feaa0c55ad015, x")
}

const id = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

func TestKeep(t *testing.T) {
	r := redact.Redactor{Keep: func(run string) bool { return run == id }}
	for _, text := range []string{id, "/docker/" + id, "task_memcg=/docker/" + id + ",task=stress", "/system.slice/docker-" + id + ".scope"} {
		require.Equal(t, text, r.Text(text))
	}
	other := strings.Replace(id, "9f86", "1111", 1)
	require.Equal(t, redact.Mask, r.Text(other))
	require.NotContains(t, r.Text(id+"/"+other), other, "beside an id that is kept")
}

func TestEnv(t *testing.T) {
	r := redact.Redactor{Names: redact.DefaultNames()}
	require.Equal(t, []string{"PATH", "GOGC"}, r.Env([]string{"PATH=/bin", "DB_PASSWORD=hunter2", "GOGC=50", "OTHER", ""}))
	require.Equal(t, map[string]int{redact.Variables: 3}, r.Counts())
	require.Empty(t, r.Counts(), "counted anew")
}

func TestJSON(t *testing.T) {
	r := redact.Redactor{Names: []string{"PATH"}}
	got, err := r.JSON([]byte(`{"Id":12345678901234567890,"Config":{"Env":["PATH=/bin","X=hunter2"],"Cmd":["app","--token","hunter2"],
		"Labels":{"db.pass":"hunter2","team":"shop"}},"list":[1,"http://u:hunter2@h",null,true]}`))
	require.NoError(t, err)
	require.JSONEq(t, `{"Id":12345678901234567890,"Config":{"Env":["PATH"],"Cmd":["app","--token","***"],
		"Labels":{"db.pass":"***","team":"shop"}},"list":[1,"http://***@h",null,true]}`, string(got))
	for _, broken := range []string{"", "{", `{} {}`, "{}x"} {
		_, err := r.JSON([]byte(broken))
		require.Error(t, err, "%q", broken)
	}
}

// Whatever is around it, a password that something announces does not survive,
// and what was JSON stays JSON.
func FuzzAnnounced(f *testing.F) {
	for _, seed := range []string{"", "a", "x --y", "\"", "://", "=", "a: b", "-----BEGIN ", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, around string) {
		const hidden = "Zq7-hunter2-Zq7"
		if strings.Contains(around, hidden[:3]) {
			return
		}
		var r redact.Redactor
		for _, argv := range [][]string{
			{around, "--password=" + hidden},
			{around, "--password", hidden},
			{"app", around, "DB_TOKEN=" + hidden, around},
		} {
			if got := strings.Join(r.Args(argv), "\x00"); strings.Contains(got, hidden) {
				t.Errorf("%q survives in %q", argv, got)
			}
		}
		for _, text := range []string{around + "\npassword=" + hidden + "\n" + around, around + " http://bob:" + hidden + "@host/ " + around} {
			if got := r.Text(text); strings.Contains(got, hidden) {
				t.Errorf("%q survives in %q", text, got)
			}
		}
		in, err := json.Marshal(map[string]any{"k": around, "password": hidden, "argv": []string{"app", "--secret", hidden, around}})
		require.NoError(t, err)
		out, err := r.JSON(in)
		require.NoError(t, err)
		require.True(t, json.Valid(out))
		require.NotContains(t, string(out), hidden)
	})
}

// FuzzScript masks in scripts that nobody has written: nothing is added but masks,
// and the same script once more changes nothing.
func FuzzScript(f *testing.F) {
	f.Add("export DB_PASS=hunter2; mysql -uroot -phunter2 shop")
	f.Add("echo \"a; b\" 'c $(redis-cli -a x)")
	f.Fuzz(func(t *testing.T, text string) {
		var r redact.Redactor
		once := r.Args([]string{"sh", "-c", text})[2]
		if len(strings.ReplaceAll(once, redact.Mask, "")) > len(text) {
			t.Errorf("%q became longer: %q", text, once)
		}
		planted := r.Args([]string{"sh", "-c", "mysql -pQz7hunter2 shop; " + text})[2]
		if strings.Contains(planted, "Qz7hunter2") && !strings.Contains(text, "Qz7hunter2") {
			t.Errorf("%q", planted)
		}
	})
}
