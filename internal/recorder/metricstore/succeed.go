package metricstore

import "slices"

// maxIdentities is how many identities of a container are compared with each
// other. There are two or three: without a name, with one, and with another image
// or service. What has more is many applications in one container.
const maxIdentities = 16

// join lets a resource be compared with the others of its container. The host and
// services outside of containers are as many as there are names.
func (a *account) join(r *resource) {
	if r.identity[containerID] != "" && len(a.identities) < maxIdentities {
		a.identities = append(a.identities, r)
	}
}

func (a *account) leave(r *resource) {
	a.identities = slices.DeleteFunc(a.identities, func(other *resource) bool { return other == r })
}

// succeed ends the series that the present point has had under another identity of
// the container: its name, image or service became known, or changed. Without that
// both would be answered for as long as the lookback.
func (f *feed) succeed() {
	r := f.resource
	for _, old := range r.account.identities {
		if old == r || r.apart || old.apart || !r.identity.mayFollow(&old.identity) {
			continue
		}
		key := pointKey{f.name, f.unit, string(f.table.key), f.kind}
		p := old.points[key]
		if p == nil {
			continue
		}
		last := old.lastOf(p)
		switch {
		case f.at < last || f.at <= r.left: // it was held back on its way
		case r.left > 0 && f.at-r.left <= lookback.Milliseconds():
			r.apart = true // both write: these are two applications
		default:
			f.finish(old, key, last)
		}
	}
}

// mayFollow tells whether two identities of a container can be one after the other.
// Two services are two applications.
func (id *identity) mayFollow(old *identity) bool {
	return id[serviceName] == old[serviceName] || id[serviceName] == "" || old[serviceName] == ""
}

// finish forgets a point of an older identity. Its series get the stale marker at
// the time of the present point, or just after their last sample if that is as new.
// One that is silent for longer than the lookback is not answered anyway.
func (f *feed) finish(old *resource, key pointKey, last int64) {
	p := old.points[key]
	delete(old.points, key)
	old.account.points--
	old.steps.forget(p)
	old.left = f.at
	for _, s := range p.series {
		if f.at-last <= lookback.Milliseconds() {
			f.add(s, max(f.at, last+1), stale())
		}
		f.table.dropSeries(s)
	}
}

// lastOf is the time of the newest sample of a point, milliseconds.
func (r *resource) lastOf(p *point) int64 {
	last := int64(0)
	if p.place > 0 {
		last = r.steps.list[p.place-1].last
	}
	for _, s := range p.series {
		last = max(last, s.last)
	}
	return last
}
