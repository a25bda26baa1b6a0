package notice

import (
	"context"
	"slices"

	"github.com/tallymanhq/tallyman/internal/discovery/identities"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/store"
)

// Writer brings what a store knows onto a board. Make it with [New].
type Writer struct {
	store *store.Store
	board *identities.Board
	own   *identities.Writer
	// written are the ids that are on the board by this writer. Only calls of the
	// store, one at a time, and Run without a subscription use it.
	written map[string]struct{}
}

var _ store.Subscriber = (*Writer)(nil)

// New returns a writer that does nothing before Run.
func New(s *store.Store, b *identities.Board) *Writer {
	return &Writer{store: s, board: b, own: b.Writer(), written: map[string]struct{}{}}
}

// Run writes while somebody reads, until ctx ends.
func (w *Writer) Run(ctx context.Context) {
	for ctx.Err() == nil {
		n, changed := w.board.Readers()
		if n > 0 {
			w.write(ctx)
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// write returns when nobody reads any more, and leaves nothing on the board.
func (w *Writer) write(ctx context.Context) {
	cancel := w.store.Subscribe(w)
	defer w.wipe()
	defer cancel()
	for n, changed := w.board.Readers(); n > 0; n, changed = w.board.Readers() {
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// Dropped counts what the board did not take because it was full. It may be called by
// any goroutine.
func (w *Writer) Dropped() uint64 { return w.own.Dropped() }

func (w *Writer) wipe() {
	for id := range w.written {
		w.own.Remove(id)
	}
	clear(w.written)
}

// ContainerChanged implements [store.Subscriber]. What becomes of a pod is told by
// its containers, too.
func (w *Writer) ContainerChanged(id string, e *store.Entity) {
	if e != nil && e.Container != nil && !e.Dead {
		w.written[id] = struct{}{}
		w.own.Put(id, identityOf(e.Container, e.Pod))
		return
	}
	if _, ok := w.written[id]; ok {
		delete(w.written, id)
		w.own.Remove(id)
	}
}

// PodChanged implements [store.Subscriber].
func (w *Writer) PodChanged(string, *entity.Pod) {}

// HostChanged implements [store.Subscriber].
func (w *Writer) HostChanged([]entity.Attribute) {}

// claimants are runtimes whose containers say by labels which pod they belong to. Whoever
// may start one can name any pod; its addresses are not theirs for that.
var claimants = []string{"docker", "podman"}

// identityOf is what is said about a container; p may be nil.
func identityOf(c *entity.Container, p *entity.Pod) *target.Identity {
	i := &target.Identity{
		Name: c.Name, Image: c.Image.Name, Runtime: c.Runtime, Labels: c.Labels, Addresses: c.Addresses,
	}
	if len(c.Image.Tags) > 0 {
		i.ImageTag = c.Image.Tags[0]
	}
	if ref := c.Pod; ref != nil {
		i.Pod = target.Pod{Name: ref.Name, Namespace: ref.Namespace, UID: ref.UID, Container: ref.Container}
		i.IsSandbox = ref.Container == ""
	}
	if p == nil {
		return i
	}
	i.Pod.Labels, i.Pod.Annotations = p.Labels, p.Annotations
	if i.Pod.Name == "" {
		i.Pod.Name, i.Pod.Namespace = p.Name, p.Namespace
	}
	if len(i.Addresses) == 0 && !slices.Contains(claimants, c.Runtime) {
		i.Addresses = p.Addresses
	}
	return i
}
