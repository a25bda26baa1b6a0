package join

// answer returns who is at the other end of a slot's connection. done is false if
// it is worth to wait; with last nothing is waited for.
func (t *table) answer(at int32, last bool) (answer Found, done bool) {
	e := &t.slots[at].end
	if e.Local == e.Remote {
		return Found{Known: true, Owner: e.Owner, Remote: e.Local}, true // to itself
	}
	y, v := t.resolve(at, last)
	if v != found {
		return Found{Ambiguous: v == unclear}, last
	}
	end := &t.slots[y].end
	switch {
	case end.accepted():
		return t.behind(y, last)
	case end.dialled():
		return t.before(y, last)
	}
	return who(end), true
}

func who(e *End) Found { return Found{Known: true, Owner: e.Owner, Remote: e.Local} }

func proxied(e *End) Found {
	return Found{Known: true, Owner: e.Owner, Remote: e.Local, Proxied: true}
}

// behind answers for the client at the leg that docker-proxy accepted: who is at
// the leg that it dialled. It dials one address only, so that any leg of it says.
func (t *table) behind(accepted int32, last bool) (answer Found, done bool) {
	s := &t.slots[accepted]
	p := s.proxy
	if answer, ok := p.answer(); ok {
		return answer, true
	}
	for _, dialled := range [2]int32{s.match, p.any()} {
		if dialled == none {
			continue
		}
		if y, v := t.resolve(dialled, last); v == found {
			p.learn(&t.slots[y].end)
			return proxied(&t.slots[y].end), true
		}
	}
	switch {
	case !last:
		return Found{}, false
	case s.match != none:
		return Found{Remote: t.slots[s.match].end.RealRemote, Proxied: true}, true
	case !p.several && p.dials.IsValid():
		return Found{Remote: p.dials, Proxied: true}, true
	case s.unclear:
		return Found{Ambiguous: true, Proxied: true}, true
	}
	return who(&s.end), true
}

// before answers for the server at the leg that docker-proxy dialled: who is at the
// leg that it accepted.
func (t *table) before(dialled int32, last bool) (answer Found, done bool) {
	s := &t.slots[dialled]
	if s.partner != none {
		s.proxy.learn(&t.slots[s.partner].end)
	}
	if s.match == none {
		switch {
		case !last:
			return Found{}, false
		case s.unclear:
			return Found{Ambiguous: true, Proxied: true}, true
		}
		return who(&s.end), true
	}
	y, v := t.resolve(s.match, last)
	if v == found {
		return proxied(&t.slots[y].end), true
	}
	accepted := &t.slots[s.match].end
	return Found{Remote: accepted.RealRemote, Proxied: true, Ambiguous: v == unclear}, last
}
