package secret_test

import (
	"testing"

	"github.com/tallymanhq/tallyman/internal/secret"
)

func TestName(t *testing.T) {
	for key, want := range map[string]bool{
		"com.example.db-password": true, "API_KEY": true, "GitHubToken": true, "AWS_SECRET_ACCESS_KEY": true,
		"traefik.http.middlewares.auth.credentials.file": true, "PWD": true,
		"": false, "team": false, "com.docker.compose.service": false, "keyboard": false,
	} {
		if got := secret.Name(key); got != want {
			t.Errorf("%q: %v", key, got)
		}
	}
}

func TestSensitiveName(t *testing.T) {
	f := func(want bool, keys ...string) {
		t.Helper()
		for _, key := range keys {
			if got := secret.SensitiveName(key); got != want {
				t.Errorf("%q: %v", key, got)
			}
		}
	}
	f(true, "DB_PASS", "SMTP_PASS", "REDISCLI_AUTH", "BASIC_AUTH", "DB_CREDS", "SIGNING_KEY", "SESSION_KEY",
		"PRIVATEKEY", "HTTP_COOKIE", "VAULT_UNSEAL", "CARD_PIN", "com.example.db.pass",
		"traefik.http.middlewares.m.basicauth.users", "traefik.http.middlewares.m.basicAuth.users")
	f(true, "pass", "PASS2", "pass1word", "dbPass", "DBPass", "dBPASS", "DBPASS", "example.com/pass", "a-pass-b", "MYSQL_ROOT_PW",
		"SENTRY_DSN", "AUTH_SALT", "privateKey", "SSHkey", "tls.keys", "RABBITMQ_ERLANG_COOKIE", "APP_KEY", "dbcreds", "X_CRED",
		"redisAuth", "cardPIN", "XMLKeyFile", "httpCookieName")
	f(true, "api-key", "GITHUB_TOKEN", "passphrase", "credentials") // Name knows them
	t.Log("false alarms that are accepted")
	f(true, "com.example.key-count", "SESSION_TIMEOUT", "AUTH_BACKEND", "SSH_AUTH_SOCK", "com.example.private", "PROXY_PASS", "COOKIE_DOMAIN")
	f(false, "", "...", "7", "team", "keyboard", "monkey", "compass", "COMPASS_URL", "HTTP_BYPASS", "encompass", "passenger", "PASSIVE_MODE",
		"author", "org.opencontainers.image.authors", "authority", "sacred", "spin", "pinned", "SHIPPING", "asphalt",
		"OTP_VERSION", "com.docker.compose.service", "app.kubernetes.io/part-of", "NGINX_VERSION", "PATH", "LANG")
}

func TestSensitiveNameAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { secret.SensitiveName("app.kubernetes.io/managedBy-HTTPServer2") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Whatever is before or after it, a word of its own is found, and what Name
// tells of is found, too.
func FuzzSensitiveName(f *testing.F) {
	for _, seed := range []string{"", "a", "dbPass", "DBPass9", "x.y/z-W_v", "\xff", "é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, key string) {
		for _, with := range []string{key + ".pass", "PIN_" + key, key + "/unseal/" + key} {
			if !secret.SensitiveName(with) {
				t.Errorf("%q is none", with)
			}
		}
		if secret.Name(key) && !secret.SensitiveName(key) {
			t.Errorf("%q is one for Name only", key)
		}
	})
}
