package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// contentPolicy lets the page load and call nothing but us, and nobody frame it. The
// web view has no inline script and no inline style.
const contentPolicy = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// sessionCookie is what a browser has instead of the token.
const sessionCookie = "tallyman_session"

// denials counts what the guard refused, and connections of who has too many.
type denials struct {
	host, origin, token, connections atomic.Uint64
}

func (d *denials) counts() Counts {
	return Counts{
		"host": d.host.Load(), "origin": d.origin.Load(), "token": d.token.Load(), "connections": d.connections.Load(),
	}
}

// guard is in front of everything. A trusted listener is a Unix socket: its
// permissions have done what host and token are for, and no browser gets there.
func (s *Server) guard(next http.Handler, trusted bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		paced := newPacedWriter(w, s.o.Limits.Stall)
		if r.ContentLength != 0 {
			_ = paced.control.SetReadDeadline(time.Now().Add(s.o.Limits.Stall)) // see deadline
		}
		secure(w.Header())
		if f := s.refuse(r, trusted); f != nil {
			// The body of who is refused is not read.
			w.Header().Set("Connection", "close")
			w.Header().Set("Cache-Control", "no-store")
			if f.code == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", `Bearer realm="tallyman"`)
			}
			f.write(paced)
			return
		}
		next.ServeHTTP(paced, r)
	})
}

func secure(h http.Header) {
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

func (s *Server) refuse(r *http.Request, trusted bool) *failure {
	if !trusted && !s.knowsHost(r.Host) {
		s.denied.host.Add(1)
		return forbidden("the host " + strings.ToValidUTF8(r.Host, "?") + " is not served here (see allowed_hosts)")
	}
	if !sameOrigin(r) {
		s.denied.origin.Add(1)
		return forbidden("requests from pages of other origins are not served")
	}
	if !trusted && needsToken(r) && !s.authenticated(r) {
		s.denied.token.Add(1)
		return &failure{http.StatusUnauthorized, "unauthorized", errors.New("a token is needed")}
	}
	return nil
}

// knowsHost ends DNS rebinding: the name that an attacker points at us is not ours.
// An address is nobody's name, so any will do, also that of a forwarded port.
func (s *Server) knowsHost(host string) bool {
	name := hostName(host)
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	return s.hosts[name]
}

// hostName strips the port, the brackets of IPv6 and the dot of the root.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// sameOrigin tells whether a request comes from our own page, or from no page. What
// browsers send cannot be forged by a page; programs send neither header.
func sameOrigin(r *http.Request) bool {
	if origins := r.Header.Values("Origin"); len(origins) > 0 {
		from, err := url.Parse(origins[0])
		page := err == nil && (from.Scheme == "http" || from.Scheme == "https") && from.Host != ""
		return page && len(origins) == 1 && strings.EqualFold(from.Host, r.Host)
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return true
	}
	// A link on another page may lead to the web view, which is static, and to no data.
	return r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Method == http.MethodGet && !isAPI(r)
}

func isAPI(r *http.Request) bool {
	return r.URL.Path == "/api" || strings.HasPrefix(r.URL.Path, "/api/")
}

// needsToken lets the page itself through: it asks for the token, and has no data.
func needsToken(r *http.Request) bool {
	return isAPI(r) && r.URL.Path != "/api/login"
}

func (s *Server) authenticated(r *http.Request) bool {
	if s.o.Token == "" && mutual(s.o.TLS) {
		// The handshake has seen to it, unless GetConfigForClient asks for less.
		return r.TLS != nil && len(r.TLS.VerifiedChains) > 0
	}
	if s.o.Token == "" {
		return true // loopback, see listen
	}
	if kind, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(kind, "Bearer") {
		return same(strings.TrimSpace(token), s.o.Token)
	}
	cookie, err := r.Cookie(sessionCookie)
	return err == nil && same(cookie.Value, s.session)
}

// same compares in a time that tells nothing, not even the length.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// login changes the token for a cookie, because EventSource cannot send a header.
// The cookie is the same for all, and of no use after a restart.
func (s *Server) login(w http.ResponseWriter, r *http.Request) *failure {
	var given struct {
		Token string `json:"token"`
	}
	if f := s.body(w, r, &given); f != nil {
		return f
	}
	if s.o.Token != "" && !same(given.Token, s.o.Token) {
		s.denied.token.Add(1)
		return &failure{http.StatusUnauthorized, "unauthorized", errors.New("this is not the token")}
	}
	if s.o.Token != "" {
		http.SetCookie(w, s.cookie(r, s.session))
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) logout(w http.ResponseWriter, r *http.Request) *failure {
	cookie := s.cookie(r, "")
	cookie.MaxAge = -1
	http.SetCookie(w, cookie)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) cookie(r *http.Request, value string) *http.Cookie {
	return &http.Cookie{
		Name: sessionCookie, Value: value, Path: "/",
		HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode,
	}
}
