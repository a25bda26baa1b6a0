package engine_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/engine"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

func isUnavailable(err error) bool { return errors.Is(err, engine.ErrUnavailable) }

// authority signs certificates for both sides of a connection.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.sign("ca", nil)
	return a
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// sign writes <name>.pem and <name>-key.pem; without an issuer signed by itself.
func (a *authority) sign(name string, change func(*x509.Certificate)) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	issuer, issuerKey := a.cert, a.key
	if issuer == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
		issuer, issuerKey = template, key
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, issuerKey)
	require.NoError(a.t, err)
	text, err := x509.MarshalECPrivateKey(key)
	require.NoError(a.t, err)
	write := func(file, kind string, bytes []byte) {
		require.NoError(a.t, os.WriteFile(a.file(file), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}), 0o600))
	}
	write(name+".pem", "CERTIFICATE", der)
	write(name+"-key.pem", "EC PRIVATE KEY", text)
	cert, err := x509.ParseCertificate(der)
	require.NoError(a.t, err)
	return cert, key
}

// serve answers on loopback to whom the authority knows.
func (a *authority) serve() string {
	pair, err := tls.LoadX509KeyPair(a.file("server.pem"), a.file("server-key.pem"))
	require.NoError(a.t, err)
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
		NextProtos: []string{"h2", "http/1.1"},
	})
	require.NoError(a.t, err)
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor != 1 {
				a.t.Errorf("asked in %s", r.Proto)
			}
			writeJSON(w, `{}`)
		}),
		ErrorLog: quiet(),
	}
	go func() { _ = server.Serve(listener) }()
	a.t.Cleanup(func() { _ = server.Close() })
	return "tcp://" + listener.Addr().String()
}

func (a *authority) options(upstream, client string) engine.Options {
	return engine.Options{Upstream: upstream, TLS: engine.TLSOptions{
		CAFile: a.file("ca.pem"), CertFile: a.file(client + ".pem"), KeyFile: a.file(client + "-key.pem"),
	}}
}

// Over TCP both sides prove who they are, and a renewed certificate is used.
func TestTLS(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	a, stranger := newAuthority(t), newAuthority(t)
	a.sign("server", nil)
	a.sign("client", nil)
	stranger.sign("client", nil)
	upstream := a.serve()
	ask := func(o engine.Options) error {
		e, err := engine.New(o)
		require.NoError(t, err)
		defer e.Close()
		_, err = text(e.Do(t.Context(), get("/x")))
		return err
	}
	good := a.options(upstream, "client")
	require.NoError(t, ask(good))
	unknownClient := good
	unknownClient.TLS.CertFile, unknownClient.TLS.KeyFile = stranger.file("client.pem"), stranger.file("client-key.pem")
	require.ErrorIs(t, ask(unknownClient), engine.ErrUnavailable)
	unknownServer := good
	unknownServer.TLS.CAFile = stranger.file("ca.pem")
	require.ErrorIs(t, ask(unknownServer), engine.ErrUnavailable)
	otherName := good
	otherName.TLS.ServerName = "elsewhere"
	require.ErrorIs(t, ask(otherName), engine.ErrUnavailable)

	a.sign("client", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	e, err := engine.New(good)
	require.NoError(t, err)
	defer e.Close()
	_, err = text(e.Do(t.Context(), get("/x")))
	require.ErrorIs(t, err, engine.ErrUnavailable, "expired")
	a.sign("client", nil)
	_, err = text(e.Do(t.Context(), get("/x")))
	require.NoError(t, err)
}
