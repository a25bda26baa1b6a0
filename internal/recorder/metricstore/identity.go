package metricstore

import (
	"encoding/binary"
	"math"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"go.opentelemetry.io/collector/pdata/pcommon"
)

// The resource attributes that become labels, by their place in an identity.
const (
	containerID = iota
	containerName
	imageName
	serviceName
	composeProject
	serviceInstance // only without a container
	identitySize
)

// nameLabel is the label in which Prometheus has the name of a metric.
const nameLabel = "__name__"

// identity holds the values of those attributes.
type identity [identitySize]string

func identityLabels() [identitySize]string {
	return [identitySize]string{"container_id", "container_name", "container_image_name", "service_name", "docker_compose_project", "service_instance_id"}
}

// identify picks the attributes out of a resource's.
func identify(attributes pcommon.Map) identity {
	var id identity
	for name, value := range attributes.All() {
		switch name {
		case "container.id":
			id[containerID] = value.AsString()
		case "container.name":
			id[containerName] = value.AsString()
		case "container.image.name":
			id[imageName] = value.AsString()
		case "service.name":
			id[serviceName] = value.AsString()
		case "docker.compose.project":
			id[composeProject] = value.AsString()
		case "service.instance.id":
			id[serviceInstance] = value.AsString()
		}
	}
	if id[containerID] != "" {
		id[serviceInstance] = ""
	}
	return id
}

// appendKey appends what tells this identity from all others.
func (id *identity) appendKey(b []byte) []byte {
	for _, value := range id {
		b = appendText(b, value)
	}
	return b
}

// account is the name of who answers for the series.
func (id *identity) account() string {
	if id[containerID] != "" {
		return containerAccount(id[containerID])
	}
	return "service " + id[serviceName]
}

func containerAccount(id string) string { return "container " + id }

// isHost tells whether this is the host itself: no container, and no service that
// has a name.
func (id *identity) isHost() bool { return id[containerID] == "" && id[serviceName] == "" }

// appendAttributes appends what tells a set of attributes from all others. Two
// orders of the same set differ; table.intern makes one series of them.
func appendAttributes(b []byte, attributes pcommon.Map) []byte {
	for name, value := range attributes.All() {
		b = appendText(b, name)
		b = append(b, byte(value.Type()))
		switch value.Type() {
		case pcommon.ValueTypeStr:
			b = appendText(b, value.Str())
		case pcommon.ValueTypeInt:
			b = binary.LittleEndian.AppendUint64(b, uint64(value.Int()))
		case pcommon.ValueTypeDouble:
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(value.Double()))
		default:
			b = appendText(b, value.AsString())
		}
	}
	return b
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// labelSet makes the labels of a point, without the metric's name. What the
// resource says wins over what the point says: an application must not speak
// for another container. Names that become one join their values, as the
// exporter does it.
func (t *table) labelSet(id *identity, attributes pcommon.Map) labels.Labels {
	b := labels.NewBuilder(labels.EmptyLabels())
	for name, value := range attributes.All() {
		label, err := t.labelNamer.Build(name)
		if err != nil || strings.HasPrefix(label, "__") {
			continue // no name can be made of it, or it is one of Prometheus' own
		}
		text := strings.ToValidUTF8(value.AsString(), "\uFFFD")
		if before := b.Get(label); before != "" {
			text = before + ";" + text
		}
		b.Set(label, text)
	}
	for i, label := range identityLabels() {
		if id[i] != "" {
			b.Set(label, strings.ToValidUTF8(id[i], "\uFFFD"))
		}
	}
	return b.Labels()
}
