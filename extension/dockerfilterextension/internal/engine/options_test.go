package engine_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/engine"
)

func TestValidate(t *testing.T) {
	files := engine.TLSOptions{CAFile: "ca", CertFile: "cert", KeyFile: "key"}
	f := func(o engine.Options, field string) {
		t.Helper()
		err := o.Validate()
		if field == "" {
			require.NoError(t, err)
			return
		}
		require.Error(t, err)
		require.Equal(t, field, err.Error()[:strings.Index(err.Error(), ":")])
	}
	f(engine.Options{Upstream: "unix:///var/run/docker.sock"}, "")
	f(engine.Options{Upstream: "tcp://host.example:2376", TLS: files}, "")
	f(engine.Options{Upstream: "tcp://[::1]:2376", TLS: files}, "")
	f(engine.Options{}, "upstream")
	f(engine.Options{Upstream: "/var/run/docker.sock"}, "upstream")
	f(engine.Options{Upstream: "unix://docker.sock"}, "upstream")
	f(engine.Options{Upstream: "unix:///" + strings.Repeat("x", 107)}, "upstream")
	f(engine.Options{Upstream: "http://localhost:2375"}, "upstream")
	f(engine.Options{Upstream: "tcp://localhost", TLS: files}, "upstream")
	f(engine.Options{Upstream: "tcp://user@host:1", TLS: files}, "upstream")
	f(engine.Options{Upstream: "tcp://host:1/path", TLS: files}, "upstream")
	f(engine.Options{Upstream: "tcp://host:1"}, "tls.ca_file")
	f(engine.Options{Upstream: "tcp://host:1", TLS: engine.TLSOptions{CAFile: "a", KeyFile: "b"}}, "tls.cert_file")
	f(engine.Options{Upstream: "tcp://host:1", TLS: engine.TLSOptions{CAFile: "a", CertFile: "b"}}, "tls.key_file")
	f(engine.Options{Upstream: "unix:///x", TLS: files}, "tls.ca_file")
	f(engine.Options{Upstream: "unix:///x", Concurrency: -1}, "limits.upstream_concurrency")
	f(engine.Options{Upstream: "unix:///x", Queue: -1}, "limits.upstream_queue")
	f(engine.Options{Upstream: "unix:///x", Streams: -1}, "limits.upstream_streams")
	f(engine.Options{Upstream: "unix:///x", Timeout: -1}, "limits.upstream_timeout")
	f(engine.Options{Upstream: "unix:///x", MaxAPI: "2.0"}, "max_api")

	_, err := engine.New(engine.Options{Upstream: "tcp://host:1", TLS: files})
	require.ErrorContains(t, err, "tls.ca_file: open ca")
}

func TestPick(t *testing.T) {
	api := engine.API{Newest: "1.41", Oldest: "1.12"}
	f := func(wanted, limit, want, message string) {
		t.Helper()
		got, err := api.Pick(wanted, limit)
		require.Equal(t, want, got)
		if message == "" {
			require.NoError(t, err)
			return
		}
		require.Equal(t, &engine.StatusError{Status: 400, Message: message}, err)
	}
	f("", "1.56", "1.41", "")
	f("", "1.30", "1.30", "")
	f("1.24", "1.56", "1.24", "")
	f("1.41", "1.56", "1.41", "")
	f("1.42", "1.56", "", "client version 1.42 is too new. Maximum supported API version is 1.41")
	f("1.41", "1.40", "", "client version 1.41 is too new. Maximum supported API version is 1.40")
	f("1.11", "1.56", "", "client version 1.11 is too old. Minimum supported API version is 1.12, please upgrade your client to a newer version")
}

func TestParseAPI(t *testing.T) {
	f := func(header, body string, want engine.API, ok bool) {
		t.Helper()
		got, err := engine.ParseAPI(header, []byte(body))
		require.Equal(t, want, got)
		if ok {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, engine.ErrUnexpected)
		}
	}
	f("1.41", `{"MinAPIVersion":"1.12","ApiVersion":"1.41"}`, engine.API{Newest: "1.41", Oldest: "1.12"}, true)
	f("", `{"MinAPIVersion":"1.12"}`, engine.API{}, false)
	f("1.4x", `{"MinAPIVersion":"1.12"}`, engine.API{}, false)
	f("1.41/../x", `{"MinAPIVersion":"1.12"}`, engine.API{}, false)
	f("1.41", `{}`, engine.API{}, false)
	f("1.41", `[]`, engine.API{}, false)
	f("1.41", `{"MinAPIVersion":12}`, engine.API{}, false)
}

func FuzzParseAPI(f *testing.F) {
	f.Add("1.41", `{"MinAPIVersion":"1.12"}`)
	f.Fuzz(func(t *testing.T, header, body string) {
		api, err := engine.ParseAPI(header, []byte(body))
		if err != nil {
			require.Zero(t, api)
			return
		}
		// Both go into paths.
		require.Regexp(t, `^1\.[0-9]{2}$`, api.Newest)
		require.Regexp(t, `^1\.[0-9]{2}$`, api.Oldest)
	})
}
