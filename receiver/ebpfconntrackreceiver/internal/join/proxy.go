package join

import "net/netip"

// proxy is a process of docker-proxy, while one of its ends is remembered.
type proxy struct {
	pid  int
	ends int
	// last is the last end that it dialled, and that was answered.
	last int32
	// dials is the one address that it dials, published the port that it listens
	// at. several: there was another, so that the number is of more than one
	// process; then only legs that match are believed.
	dials     netip.AddrPort
	published uint16
	several   bool
	// owner is who was found there, at the address real.
	isKnown bool
	owner   string
	real    netip.AddrPort
}

// answer returns who is behind the proxy, whatever connection is asked for.
func (p *proxy) answer() (Found, bool) {
	if p.several || !p.isKnown {
		return Found{}, false
	}
	return Found{Known: true, Owner: p.owner, Remote: p.real, Proxied: true}, true
}

// any returns a leg that says who is behind the proxy, if all do.
func (p *proxy) any() int32 {
	if p.several {
		return none
	}
	return p.last
}

// learn keeps who was found at the address that is dialled.
func (p *proxy) learn(server *End) {
	if p.isKnown && (p.owner != server.Owner || p.real != server.Local) {
		p.several = true
	}
	p.isKnown, p.owner, p.real = true, server.Owner, server.Local
}

// join adds a slot to its proxy, if it is one's, and to the legs to be matched.
func (t *table) join(at int32) {
	s := &t.slots[at]
	e := &s.end
	if !e.accepted() && !e.dialled() {
		return
	}
	p := t.proxies[e.PID]
	if p == nil {
		p = &proxy{pid: e.PID, last: none}
		t.proxies[e.PID] = p
	}
	p.ends++
	s.proxy = p
	if e.accepted() {
		p.several = p.several || p.published != 0 && p.published != e.Local.Port()
		p.published = e.Local.Port()
	} else {
		p.several = p.several || p.dials.IsValid() && p.dials != e.Remote
		p.dials = e.Remote
		if s.nodes != none {
			p.last = at
		}
	}
	t.addLeg(at)
}

// leave takes a slot from its proxy and its legs.
func (t *table) leave(at int32) {
	s := &t.slots[at]
	t.dropLeg(at)
	if s.match != none {
		t.slots[s.match].match = none
	}
	p := s.proxy
	if p == nil {
		return
	}
	if p.last == at {
		p.last = none
	}
	if p.ends--; p.ends == 0 {
		delete(t.proxies, p.pid)
	}
}
