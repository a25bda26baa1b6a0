package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// With an authority for clients only who has its certificate is heard. What an agent
// without one has accepted waits until it has one.
func gatewayTLS(t *testing.T, full string) {
	ca := newAuthority(t)
	b := newBackend(t)
	g := newGateway(t, full, b.address, "deploy/gateway-tls.yaml")
	host, _, err := net.SplitHostPort(g.address)
	require.NoError(t, err)
	server, client := ca.issue(t, "gateway", net.ParseIP(host)), ca.issue(t, "agent", nil)
	g.settings.env = append(g.settings.env,
		"TALLYMAN_TLS_CERT="+server.cert, "TALLYMAN_TLS_KEY="+server.key, "TALLYMAN_TLS_CLIENT_CA="+ca.file)
	g.start()

	s := sendingTo(t, g.address)
	s.env = append(s.env, // of two settings of one name the last one counts
		"OTEL_EXPORTER_OTLP_ENDPOINT=https://"+g.address, "OTEL_EXPORTER_OTLP_INSECURE=false",
		"OTEL_EXPORTER_OTLP_CERTIFICATE="+ca.file)
	a := startAgent(t, s)
	f := newFlow(t.Name())
	y := newTally(f, b.sink)
	require.NoError(t, f.send(newSender(t, a), 10, 100))
	testkit.Eventually(t, soon, func() error {
		if !strings.Contains(a.log(), "tls: certificate required") {
			return fmt.Errorf("refusal in the agent's log: %w", errMissing)
		}
		return nil
	})
	y.take()
	require.Empty(t, y.times)
	_, code := a.stop()
	require.Zero(t, code)

	s.env = append(s.env, "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE="+client.cert, "OTEL_EXPORTER_OTLP_CLIENT_KEY="+client.key)
	startAgent(t, s)
	testkit.Eventually(t, soon, y.complete)
	require.Empty(t, y.doubled())
}

// authority signs certificates for a test.
type authority struct {
	file string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// pair are the files of a certificate and its key.
type pair struct{ cert, key string }

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := certificate("authority")
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	a := &authority{file: filepath.Join(t.TempDir(), "ca.crt"), cert: cert, key: key}
	writePEM(t, a.file, "CERTIFICATE", der)
	return a
}

// issue makes a certificate that is good for both ends, and for a server at the address.
func (a *authority) issue(t *testing.T, name string, at net.IP) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := certificate(name)
	if at != nil {
		template.IPAddresses = []net.IP{at}
	}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	require.NoError(t, err)
	private, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	dir := t.TempDir()
	p := pair{cert: filepath.Join(dir, name+".crt"), key: filepath.Join(dir, name+".key")}
	writePEM(t, p.cert, "CERTIFICATE", der)
	writePEM(t, p.key, "EC PRIVATE KEY", private)
	return p
}

func certificate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}
