package project

import (
	"bytes"
	"net/url"

	"github.com/tallymanhq/tallyman/internal/secret"
)

// env is one NAME=value: the name is kept, the value only if the profile asks
// for it. Without a value the engine means a variable that is taken away; that
// helps nobody, and could be anything.
func (p *pass) env(n *node) (bool, error) {
	raw, text, err := p.string(n)
	if err != nil {
		return false, err
	}
	name, value, ok := bytes.Cut(text, []byte("="))
	if !ok || len(name) == 0 || !isWord(name) || secret.Likely(name) {
		p.count(n)
		return false, nil
	}
	switch {
	case !p.rules.envAllow.match(name), secret.Certain(value):
		p.aux = append(append(append(p.aux[:0], name...), '='), mask...)
	case string(name) == "OTEL_RESOURCE_ATTRIBUTES":
		p.aux = append(append(p.aux[:0], name...), '=')
		p.resourceAttributes(value)
	default:
		p.out = append(p.out, raw...)
		return true, nil
	}
	if !bytes.Equal(p.aux, text) {
		p.count(n)
	}
	p.out = appendQuoted(p.out, p.aux)
	return true, nil
}

// resourceAttributes appends key=value,key=value to aux, with the values that
// look like secrets, or whose keys sound like it, masked.
func (p *pass) resourceAttributes(list []byte) {
	begin := len(p.aux)
	for pair := range bytes.SplitSeq(list, []byte(",")) {
		key, value, ok := bytes.Cut(pair, []byte("="))
		key = bytes.TrimSpace(key)
		if !ok || !isWord(key) || secret.Likely(key) {
			continue
		}
		if len(p.aux) > begin {
			p.aux = append(p.aux, ',')
		}
		p.aux = append(append(p.aux, key...), '=')
		if p.harmlessAttribute(key, value) {
			p.aux = append(p.aux, value...)
		} else {
			p.aux = append(p.aux, mask...)
		}
	}
}

func (p *pass) harmlessAttribute(key, value []byte) bool {
	p.key = appendLower(p.key[:0], key)
	if p.rules.labelDeny.match(p.key) {
		return false
	}
	looks := secret.Likely
	if identifies(key) {
		looks = secret.Certain
	}
	// Values are percent-encoded where that is needed.
	if bytes.IndexByte(value, '%') >= 0 {
		plain, err := url.PathUnescape(string(value))
		if err != nil || looks([]byte(plain)) {
			return false
		}
	}
	return !looks(value)
}

// identifies tells whether an attribute is, by the semantic conventions, a
// number that only looks random.
func identifies(key []byte) bool {
	switch string(key) {
	case "container.id", "host.id", "service.instance.id", "container.image.id", "oci.manifest.digest",
		"k8s.cluster.uid", "k8s.node.uid", "k8s.pod.uid", "k8s.deployment.uid", "k8s.replicaset.uid",
		"k8s.statefulset.uid", "k8s.daemonset.uid", "k8s.job.uid", "k8s.cronjob.uid", "k8s.namespace.uid",
		"vcs.ref.head.revision", "process.executable.build_id.gnu":
		return true
	}
	return false
}
