package guard

import (
	"maps"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
)

// host is what the guarded receiver sees of another one.
type host struct {
	component.Host
	guard *Guard
}

// Host returns a host that has the guard among its extensions. What else inner
// offers, a receiver finds as well: its extensions, its factories, and who takes
// reports of the receiver's status.
func (g *Guard) Host(inner component.Host) component.Host { return &host{inner, g} }

// GetExtensions implements [component.Host].
func (h *host) GetExtensions() map[component.ID]component.Component {
	all := map[component.ID]component.Component{}
	maps.Copy(all, h.Host.GetExtensions())
	all[id()] = h.guard
	return all
}

// Report implements [componentstatus.Reporter]. It does nothing if nobody takes it.
func (h *host) Report(e *componentstatus.Event) { componentstatus.ReportStatus(h.Host, e) }

// GetFactory returns nil where there is none, and if the host has none to offer.
func (h *host) GetFactory(kind component.Kind, t component.Type) component.Factory {
	if inner, ok := h.Host.(interface {
		GetFactory(component.Kind, component.Type) component.Factory
	}); ok {
		return inner.GetFactory(kind, t)
	}
	return nil
}
