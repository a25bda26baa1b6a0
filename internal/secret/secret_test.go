package secret_test

import (
	"encoding/base64"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tallymanhq/tallyman/internal/secret"
)

func TestCertainSecret(t *testing.T) {
	f := func(text string, want bool) {
		t.Helper()
		if got := secret.Certain([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	for _, text := range []string{
		"postgres://shop:pw@db/shop", "postgres://shop:p/w@db/shop", "see https://u:p@h/x and more", "amqp://u:a/b@h", "https://:token@h",
		"https://x-access-0123456789@github.com/a/b", "shop:pw@tcp(db:3306)/shop", "u:p@unix(/run/x)/y",
		"Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "-----BEGIN RSA PRIVATE KEY-----", "xAKIAIOSFODNN7EXAMPLE",
		"ghp_0123456789abcdefghijABCDEFGHIJ012345", "glpat-abcdefghij0123456789", "sk_live_4eC39HqLyjWDarjtT1",
		"admin:$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/", "$2y$05$r3J4d3VepzFkedkd/q1vI.pBYIpSqjfN0qOARV3ScUHysatnS0cL2",
		"bob:{SHA}fEqNCco3Yq9h5ZUglD3CZJT4lBs=", "{SSHA}DkMTwBl+a/3DQTxCYEApdUtNXGgdUac3", "userPassword {SMD5}4QWGWZpj9GCmfuqEvm8HtZhZS6E=",
		"SWMTKN-1-3pu6hszjas19xyp7ghgosyx9k8atbfcr8p2is99znpy26u2lkl-1awxwuwd3z9j1z3puu7rcgdbx",
	} {
		f(text, true)
	}
	for _, text := range append(harmless(),
		"", "http://db:5432/x@y", "https://h:8443/npm/@scope/package-with-a-long-name", "https://git@github.com/x", "ssh://git@github.com/org/app.git", "a@b", "eyJ.x", "eyJxxxx",
		strings.Repeat("4f0c1d2e", 8), "ASIA-SOUTHEAST-1-REGION", "ASIA_PACIFIC_SOUTH_EAST", "-----", "registry.example/app:{SHA}", "{SHA}/release", "{SSHA}", "http://h/?mail=a@b",
	) {
		f(text, false)
	}
}

func TestLikelySecret(t *testing.T) {
	f := func(text string, want bool) {
		t.Helper()
		if got := secret.Likely([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	for _, text := range []string{
		"0123456789abcdef0123456789abcdef", "wJalrXUtnFEMI/K7MDENG/bPxRfiCY8aTzQm2LkP",
		"key is Zk3Tq9LmX7vB2nRc5WdYh8JpFs4GtQa6.", "password=x", `{"passwd": "x"}`, `{\"password\":\"x\"}`, "API_KEY: x",
		"postgres://u:p@h", "token = x", "--db-password=x",
	} {
		f(text, true)
	}
	for _, text := range harmless() {
		f(text, false)
	}
}

// harmless are values of labels as they are found: identifiers, names, versions.
func harmless() []string {
	return []string{
		"123e4567-e89b-12d3-a456-426614174000", "pod-123e4567-e89b-12d3-a456-426614174000-0",
		"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		"registry.example/team/app:1.2@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		"v1.28.3-eks-4f4795d", "2024-05-06T07:08:09.123456789+00:00", "20240506T070809Z", "1.2.3-rc.1+build.20240506",
		"prometheus-kube-prometheus-operator-7d9f8b6c5-x2x4z", "/srv/app/releases/20240101123456/config/production.yaml",
		"my-long-service-name-for-production-in-eu-west-1", "kubernetes.io/cluster/production-europe-west1-b",
		"AbstractSingletonProxyFactoryBeanConfigurationSupport", "the_quick_brown_fox_jumps_over_the_lazy_dog",
		"https://github.com/example/application/blob/main/README.md", "Host(`shop.example`) && PathPrefix(`/api`)",
		"Bob Example <bob@example.com>", "arn:aws:ecs:eu-west-1:123456789012:task-definition/shop:7",
		"worker1-node2-rack3-zone4-region5-dc6-building7", "00000000000000000000000000000000",
		"password", "token:", "secret=${SECRET}", `"password":"%%env_PW%%"`, "api_key={{ .Key }}", "passwd=ENC[db]",
		"GPL-2.0-only WITH Linux-syscall-note AND Apache-2.0", "shop_web.1.0kzzo1i0y4jz6027t0k7aezc7",
		"/docker/buildx/buildkit-default-workers-and-caches", "com.example.really.long.package.name.with.many.parts",
	}
}

// TestRandomKeysAreFound measures the test for random text on keys as programs
// make them. The shares were 100 % but for the shortest keys with separators.
func TestRandomKeysAreFound(t *testing.T) {
	const rounds = 5000
	var seed [32]byte
	random := rand.NewChaCha8(seed)
	source := rand.New(random)
	bytesOf := func(n int) []byte {
		b := make([]byte, n)
		_, _ = random.Read(b)
		return b
	}
	alphabet := func(letters string, n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = letters[source.IntN(len(letters))]
		}
		return string(b)
	}
	const small, digits = "abcdefghijklmnopqrstuvwxyz", "0123456789"
	f := func(name string, atLeast float64, key func() string) {
		t.Helper()
		found := 0
		for range rounds {
			if secret.Likely([]byte(key())) {
				found++
			}
		}
		share := float64(found) / rounds
		t.Logf("%s: %.2f %%", name, 100*share)
		if share < atLeast {
			t.Errorf("%s: only %.2f %% were found", name, 100*share)
		}
	}
	f("hex 32", 0.99, func() string { return hex.EncodeToString(bytesOf(16)) })
	f("hex 40", 0.99, func() string { return hex.EncodeToString(bytesOf(20)) })
	f("hex 64", 0.99, func() string { return strings.ToUpper(hex.EncodeToString(bytesOf(32))) })
	f("base64 32 bytes", 0.99, func() string { return base64.StdEncoding.EncodeToString(bytesOf(32)) })
	f("base64url 32 bytes", 0.99, func() string { return base64.RawURLEncoding.EncodeToString(bytesOf(32)) })
	f("base64 24 bytes", 0.95, func() string { return base64.StdEncoding.EncodeToString(bytesOf(24)) })
	f("base62 32", 0.99, func() string { return alphabet(small+strings.ToUpper(small)+digits, 32) })
	f("base62 40", 0.99, func() string { return alphabet(small+strings.ToUpper(small)+digits, 40) })
	f("base36 32", 0.99, func() string { return alphabet(small+digits, 32) })
	f("base32 32", 0.90, func() string { return alphabet(strings.ToUpper(small)+"234567", 32) })
	f("letters 40", 0.90, func() string { return alphabet(small, 40) })
}
