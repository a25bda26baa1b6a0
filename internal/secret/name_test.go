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
