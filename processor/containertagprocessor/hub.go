package containertagprocessor

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/notice"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/recognition"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/store"
)

// expireEvery is how often the store forgets what it need not know any more;
// dead containers are kept for minutes.
const expireEvery = 10 * time.Second

// hub runs the sources of one configuration of them, and keeps what they tell.
type hub struct {
	cfg     Sources
	log     *zap.Logger
	store   *store.Store
	sources []entity.Source
	// ofContainers are the names of those that tell of containers, best first.
	ofContainers []string
	view         *hostview.View // nil where there are no cgroups
	notices      *notice.Writer // nil without a view
	holders      int            // guarded by shared.mu
	explicit     bool           // somebody has named the engine's socket

	started bool // guarded by shared.mu
	cancel  context.CancelFunc
	running sync.WaitGroup
	up      atomic.Int32 // sources of containers that answer
	report  reporter
	said    atomic.Bool // the health of the store is reported by one processor
}

func newHub(cfg Sources, keep func(env string) bool, log *zap.Logger) (*hub, error) {
	h := &hub{cfg: cfg, log: log}
	var host []string
	var err error
	if h.sources, h.ofContainers, host, err = makeSources(cfg, keep); err != nil {
		return nil, err
	}
	h.store = store.New(store.Options{Containers: h.ofContainers, Host: host, Current: sourceKubelet}, h.want)
	return h, nil
}

// start runs the sources once.
func (h *hub) start() {
	if h.started {
		return
	}
	h.started = true
	view, err := hostview.Acquire(hostview.Options{Roots: hostfs.NewRoots(h.cfg.RootPath)})
	switch {
	case err == nil:
		h.view = view
	case errors.Is(err, hostfs.ErrNotSupported):
		h.log.Info("processes are not matched to containers", zap.Error(err))
	default:
		h.log.Warn("processes are not matched to containers", zap.Error(err))
	}
	if h.view != nil && h.cfg.Recognition.Enabled {
		h.sources = append(h.sources, recognition.New(h.view.Findings()))
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel = cancel
	h.report = reporter{Sink: h.store, hub: h, reasons: map[string]string{}}
	for _, src := range h.sources {
		if known, ok := src.(interface{ Begin(entity.Sink) }); ok { // host_tags: nothing has to be asked
			known.Begin(&h.report)
		}
		h.running.Go(func() { src.Run(ctx, &h.report) })
	}
	if h.view != nil {
		h.notices = notice.New(h.store, h.view.Identities())
		h.running.Go(func() { h.notices.Run(ctx) })
	}
	h.running.Go(func() { h.expire(ctx) })
}

func (h *hub) close() {
	h.cancel()
	h.running.Wait()
	if h.view != nil {
		h.view.Release()
	}
}

func (h *hub) expire(ctx context.Context) {
	ticker := time.NewTicker(expireEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			h.store.Expire()
		case <-ctx.Done():
			return
		}
	}
}

// want asks all sources.
func (h *hub) want(id, podUID string) {
	for _, src := range h.sources {
		src.Want(id, podUID)
	}
}

// anyUp tells whether any source of containers answers.
func (h *hub) anyUp() bool { return h.up.Load() > 0 }

// containerOf finds the container of a process of the host; "" if it is in none.
func (h *hub) containerOf(pid int) string {
	if h.view == nil {
		return ""
	}
	if cg, ok := h.view.Container(pid); ok {
		return cg.ID
	}
	text, err := hostfs.ReadFile(filepath.Join(hostfs.NewRoots(h.cfg.RootPath).Proc, strconv.Itoa(pid), "cgroup"), nil)
	if err != nil {
		return "" // it has ended
	}
	id, ok := container.ParseProcCgroup(text)
	if !ok || id.Class != container.ClassContainer {
		return ""
	}
	return id.ID
}
