package containertagprocessor

import (
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/tags"
)

const (
	keyContainerID = "container.id"
	keyHostName    = "host.name"
	keyServiceName = "service.name"
	// unknownService begins the name that SDKs make up when they were given none.
	unknownService = "unknown_service"
)

// template is a finished map of attributes. Copying it at once costs less than
// half of putting its attributes one by one, since each put looks through all
// that are there (BenchmarkResource). It is only read.
type template struct {
	attributes pcommon.Map
	n          int // of attributes; the zero template has none and no map
}

// newTemplate takes tags of a container or pod, of the host what they leave, and
// last what an application says under names of its own choice.
func newTemplate(set []tags.Attribute, host *hostTags) template {
	m := pcommon.NewMap()
	m.EnsureCapacity(len(set) + len(host.attributes))
	for _, a := range set {
		if !a.Carried {
			putTag(m, a)
		}
	}
	for _, a := range host.attributes {
		if v, ok := m.GetOrPutEmpty(a.Key); !ok {
			v.SetStr(a.Value)
		}
	}
	for _, a := range set {
		if _, ok := m.Get(a.Key); a.Carried && !ok {
			putTag(m, a)
		}
	}
	return template{m, m.Len()}
}

func putTag(m pcommon.Map, a tags.Attribute) {
	if a.Values == nil {
		m.PutStr(a.Key, a.Value)
		return
	}
	list := m.PutEmptySlice(a.Key)
	list.EnsureCapacity(len(a.Values))
	for _, v := range a.Values {
		list.AppendEmpty().SetStr(v)
	}
}

// apply adds to a resource what it lacks. spare is an empty map that is used
// again for the next.
func (t template) apply(resource, spare pcommon.Map, override bool) {
	if t.n == 0 {
		return
	}
	spare.EnsureCapacity(t.n + resource.Len())
	t.attributes.CopyTo(spare)
	for k, v := range resource.All() {
		tag, both := spare.GetOrPutEmpty(k)
		if both && (override || isPlaceholder(k, v)) {
			continue
		}
		v.MoveTo(tag)
	}
	spare.MoveTo(resource)
}

// isPlaceholder tells of a value that nobody has set on purpose.
func isPlaceholder(key string, v pcommon.Value) bool {
	return key == keyServiceName && v.Type() == pcommon.ValueTypeStr && strings.HasPrefix(v.Str(), unknownService)
}

// hostTags are the attributes of the host.
type hostTags struct {
	attributes []entity.Attribute
	name       string
}

func newHostTags(attributes []entity.Attribute) *hostTags {
	h := &hostTags{attributes: attributes}
	for _, a := range attributes {
		if a.Key == keyHostName {
			h.name = a.Value
		}
	}
	return h
}

// isOther tells of data that name another host than this one: they may be of
// another one, or of a container that calls itself so.
func (h *hostTags) isOther(hostName string) bool {
	return hostName != "" && h.name != "" && hostName != h.name
}

// apply adds what a resource without a known container lacks, unless it names
// another host.
func (h *hostTags) apply(resource pcommon.Map, hostName string) {
	if h.isOther(hostName) {
		return
	}
	for _, a := range h.attributes {
		if v, ok := resource.GetOrPutEmpty(a.Key); !ok {
			v.SetStr(a.Value)
		}
	}
}
