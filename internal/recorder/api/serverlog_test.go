package api

import (
	"bytes"
	"log"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Whoever connects without TLS, again and again, writes one line a minute.
func TestServerLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := log.New(&serverLog{to: slog.New(slog.NewTextHandler(&out, nil))}, "", 0)
		for range 50 {
			l.Print("http: TLS handshake error from 192.0.2.7")
		}
		require.Equal(t, 1, strings.Count(out.String(), "\n"), out.String())
		<-time.After(serverLogEvery)
		l.Print("http: TLS handshake error from 192.0.2.8")
		require.Contains(t, out.String(), `"others since the last line"=49`)
		require.Equal(t, 2, strings.Count(out.String(), "\n"))
	})
}
