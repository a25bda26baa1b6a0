package browser_test

import (
	"math"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"
)

// Seconds of the world at which something happens.
const (
	deployAt  = past - 430 // api is replaced by a new version
	mailerAt  = past - 545 // mailer ends with an error, and comes back
	batchAt   = past - 305 // batch is OOM-killed as a whole
	workerAt  = past - 200 // worker loses a child, and runs on
	checkAt   = past - 150 // checkout's health check no longer passes
	backupEnd = past - 60
)

// shop is a Compose project on a host with a few other containers.
type shop struct {
	*world
	api, worker, batch, mailer, checkout *role
}

func newShop(begin time.Time) *shop {
	s := &shop{}
	roles := append(s.front(), s.back()...)
	roles = append(roles, others()...)
	s.world = newWorld(begin, roles, nil)
	s.events = append(s.deploy(), s.trouble()...)
	return s
}

// in makes a container of the shop.
func in(project, service, image string, l load) *role {
	return &role{name: project + "-" + service + "-1", service: service, project: project, image: image, load: l, swing: 0.5, age: 74 * time.Hour}
}

func (s *shop) front() []*role {
	web := in("shop", "web", "nginx:1.27-alpine", load{cpu: 0.18, mem: 24 * mib, rx: 900 * kib, tx: 4.1 * mib, tasks: 5, conns: 62})
	web.memLimit = 128 * mib
	old := in("shop", "api", "shop/api:1.8.2", load{cpu: 0.62, mem: 300 * mib, rx: 600 * kib, tx: 1.2 * mib, tasks: 19, conns: 31})
	old.cpuLimit, old.memLimit, old.ends = 2, 512*mib, deployAt
	s.api = in("shop", "api", "shop/api:1.8.3", load{cpu: 0.71, mem: 280 * mib, rx: 640 * kib, tx: 1.3 * mib, tasks: 19, conns: 33})
	s.api.cpuLimit, s.api.memLimit, s.api.age, s.api.starts = 2, 512*mib, 0, deployAt+3
	s.api.app = orders()
	s.checkout = in("shop", "checkout", "shop/checkout:4.0.1", load{cpu: 0.47, mem: 176 * mib, rx: 210 * kib, tx: 330 * kib, tasks: 24, conns: 14})
	s.checkout.cpuLimit, s.checkout.memLimit, s.checkout.swing = 0.5, 256*mib, 0.9
	s.checkout.mood = func(second int, l *load) {
		if second >= checkAt && second < checkAt+60 {
			l.failing = 3
		}
	}
	return []*role{web, old, s.api, s.checkout}
}

// orders are what the application sends by itself.
func orders() func(*points, int) {
	total := 0.0
	return func(p *points, second int) {
		total += math.Round(12 + 5*math.Sin(float64(second)/37))
		p.counter("shop.orders", "", total, "tier", "gold")
		p.gauge("shop.queue.length", "", math.Round(40+25*math.Sin(float64(second)/53)))
	}
}

func (s *shop) back() []*role {
	postgres := in("shop", "postgres", "postgres:16.4", load{cpu: 0.33, mem: 812 * mib, read: 1.8 * mib, write: 3.4 * mib, rx: 420 * kib, tx: 760 * kib, tasks: 41, conns: 38})
	postgres.cpuLimit, postgres.memLimit = 4, 2*gib
	redis := in("shop", "redis", "redis:7.4-alpine", load{cpu: 0.06, mem: 96 * mib, write: 40 * kib, rx: 310 * kib, tx: 290 * kib, tasks: 6, conns: 44})
	rabbit := in("shop", "rabbitmq", "rabbitmq:3.13-management", load{cpu: 0.11, mem: 188 * mib, write: 120 * kib, rx: 90 * kib, tx: 96 * kib, tasks: 33, conns: 12})
	rabbit.memLimit = 512 * mib
	s.worker = in("shop", "worker", "shop/worker:1.4.0", load{cpu: 0.9, mem: 180 * mib, read: 300 * kib, rx: 130 * kib, tx: 60 * kib, tasks: 9, conns: 4})
	s.worker.cpuLimit, s.worker.memLimit, s.worker.degraded, s.worker.restarts = 2, 512*mib, workerAt, 2
	s.worker.mood = grows(workerAt, s.worker)
	s.batch = in("shop", "batch", "shop/batch:2.1", load{cpu: 0.5, mem: 90 * mib, read: 6 * mib, write: 2 * mib, tasks: 3})
	s.batch.memLimit, s.batch.age, s.batch.starts, s.batch.ends = 256*mib, 0, past-650, batchAt
	s.batch.mood = grows(batchAt, s.batch)
	first := in("shop", "mailer", "shop/mailer:0.9", load{cpu: 0.02, mem: 38 * mib, rx: 4 * kib, tx: 12 * kib, tasks: 7, conns: 2})
	first.memLimit, first.age, first.ends = 64*mib, 5*time.Hour, mailerAt
	s.mailer = in("shop", "mailer", "shop/mailer:0.9", first.load)
	s.mailer.memLimit, s.mailer.age, s.mailer.starts = 64*mib, 0, mailerAt+4
	migrate := in("shop", "migrate", "shop/api:1.8.3", load{cpu: 0.3, mem: 60 * mib, write: 900 * kib, tasks: 2, conns: 1})
	migrate.age, migrate.starts, migrate.ends = 0, deployAt-25, deployAt-4
	return []*role{postgres, redis, rabbit, s.worker, s.batch, first, s.mailer, migrate}
}

// grows lets the memory rise to the limit within 150 s, until the killer comes.
func grows(until int, r *role) func(int, *load) {
	return func(second int, l *load) {
		switch left := until - second; {
		case left <= 0:
			l.mem, l.cpu, l.tasks, l.read = 0.12*r.memLimit, 0.01, 2, 0
		case left < 150:
			l.mem += (r.memLimit - l.mem) * (1 - float64(left)/150)
			l.cpu *= 1.3
		}
	}
}

func others() []*role {
	grafana := in("watch", "grafana", "grafana/grafana:11.2.0", load{cpu: 0.03, mem: 121 * mib, rx: 8 * kib, tx: 26 * kib, tasks: 18, conns: 3})
	grafana.memLimit = gib
	registry := &role{name: "registry", service: "registry", image: "registry:2.8", load: load{cpu: 0.01, mem: 31 * mib, rx: 2 * kib, tx: 3 * kib, tasks: 11, conns: 1}, swing: 0.8, age: 700 * time.Hour}
	backup := &role{name: "nightly-backup-of-the-order-database", service: "backup", image: "ghcr.io/shop/backup-tools:2026.11.1", load: load{cpu: 0.8, mem: 64 * mib, read: 22 * mib, tx: 9 * mib, tasks: 4, conns: 2}, swing: 0.3, starts: past - 260, ends: backupEnd}
	idle := &role{name: "quirky_lovelace", service: "busybox", image: "busybox:1.36", load: load{cpu: 0, mem: 0.7 * mib, tasks: 1}, age: 20 * time.Minute}
	return []*role{grafana, registry, backup, idle}
}

const (
	kernel = "cgroupreceiver"
	engine = "containerstatusreceiver"
	edges  = "ebpfconntrackreceiver"

	info  = plog.SeverityNumberInfo
	warn  = plog.SeverityNumberWarn
	wrong = plog.SeverityNumberError
)

// deploy is what an update leaves: the old one ends in good order.
func (s *shop) deploy() []happening {
	migrate, old := s.named("shop-migrate-1"), s.named("shop-api-1")
	return []happening{
		{deployAt - 25, migrate, kernel, "container.start", info, "The container has started.", map[string]any{"container.pid": 40217}},
		{deployAt - 4, migrate, kernel, "container.stop", info, "The container has ended with exit code 0.", map[string]any{"container.exit_code": 0, "container.lifetime": 21.0, "container.memory.peak": 71 * mib, "container.cpu.time": 6.1}},
		{deployAt, old, kernel, "container.stop", info, "The container has ended with exit code 0.", map[string]any{"container.exit_code": 0, "container.exit_signal": 15, "container.lifetime": 266690.0, "container.memory.peak": 402 * mib}},
		{deployAt + 2, nil, engine, "image.pull", info, "Image shop/api:1.8.3 was pulled.", map[string]any{"container.image.name": "shop/api:1.8.3"}},
		{deployAt + 3, s.api, kernel, "container.start", info, "The container has started.", map[string]any{"container.pid": 40411}},
		{deployAt + 20, s.api, "udsstatsdreceiver", "dogstatsd.event", info, "deploy finished: api 1.8.3", map[string]any{"dogstatsd.priority": "normal"}},
		{past - 260, s.named("nightly-backup-of-the-order-database"), kernel, "container.start", info, "The container has started.", map[string]any{"container.pid": 41002}},
		{backupEnd, s.named("nightly-backup-of-the-order-database"), kernel, "container.stop", info, "The container has ended with exit code 0.", map[string]any{"container.exit_code": 0, "container.lifetime": 200.0}},
	}
}

// trouble is what the recorder is for.
func (s *shop) trouble() []happening {
	kill := func(pid int, name string, rss int64, isInit bool) map[string]any {
		return map[string]any{"process.pid": pid, "process.vpid": pid % 97, "process.executable.name": name, "process.memory.rss": rss, "oom.victim.init": isInit, "container.survived": !isInit}
	}
	first := s.named("shop-mailer-1")
	return []happening{
		{mailerAt, first, kernel, "container.stop", wrong, "The container has ended with exit code 1.", map[string]any{"container.exit_code": 1, "container.lifetime": 18175.0}},
		{mailerAt, first, engine, "container.die", wrong, "Container shop-mailer-1 died with exit code 1", map[string]any{"container.exit_code": 1}},
		{mailerAt + 4, s.mailer, kernel, "container.start", info, "The container has started.", map[string]any{"container.pid": 39871}},
		{past - 650, s.batch, kernel, "container.start", info, "The container has started.", map[string]any{"container.pid": 39112}},
		{batchAt, s.batch, kernel, "container.oom_kill", wrong, "The OOM killer killed batch (pid 39112), the first process: the container ends.", kill(39112, "batch", 243*mib, true)},
		{batchAt, s.batch, kernel, "container.stop", wrong, "The container has ended with exit code 137.", map[string]any{"container.exit_code": 137, "container.exit_signal": 9, "container.oom_killed": true, "container.lifetime": 345.0, "container.memory.peak": 256 * mib}},
		{batchAt, s.batch, engine, "container.oom", wrong, "Container shop-batch-1 ran out of memory", nil},
		{workerAt, s.worker, kernel, "process.exit", info, "worker (pid 40988) was killed by signal 9.", map[string]any{"process.pid": 40988, "process.executable.name": "worker", "process.exit.signal": 9, "process.cpu.time": 81.2}},
		{workerAt, s.worker, kernel, "container.oom_kill", wrong, "The OOM killer killed worker (pid 40988) of the container.", kill(40988, "worker", 471*mib, false)},
		{workerAt + 5, s.worker, kernel, "container.degraded", wrong, "The container runs on without worker (pid 40988), which was OOM-killed and not replaced.", map[string]any{"degraded.reason": "oom", "process.executable.name": "worker", "process.pid": 40988, "count": 1}},
		{checkAt, s.checkout, engine, "container.health_status", warn, "Container shop-checkout-1 is unhealthy", map[string]any{"container.health.status": "unhealthy"}},
		{checkAt + 2, s.checkout, edges, "network.connection.closed", warn, "checkout could not reach 10.40.2.9:8443: timed out after 3.0 s.", map[string]any{"connection.outcome": "timeout", "destination.address": "10.40.2.9", "destination.port": 8443, "network.transport": "tcp", "process.pid": 28811, "process.executable.name": "checkout"}},
		{checkAt + 17, s.checkout, edges, "network.connection.closed", warn, "checkout could not reach 10.40.2.9:8443: timed out after 3.0 s.", map[string]any{"connection.outcome": "timeout", "destination.address": "10.40.2.9", "destination.port": 8443, "network.transport": "tcp", "process.pid": 28811, "process.executable.name": "checkout"}},
		{checkAt + 61, s.checkout, engine, "container.health_status", info, "Container shop-checkout-1 is healthy", map[string]any{"container.health.status": "healthy"}},
	}
}

// named is the first incarnation of a name.
func (s *shop) named(name string) *role {
	for _, r := range s.roles {
		if r.name == name {
			return r
		}
	}
	panic("nobody is called " + name)
}

// crowd is a host with many containers, which all do something.
func crowd(begin time.Time, n int) *world {
	services := []string{"api", "web", "worker", "cache", "queue", "search", "auth", "mail"}
	roles := make([]*role, n)
	for i := range roles {
		size := float64(i%8 + 1)
		r := in("tenant"+string(rune('a'+i/20)), services[i%len(services)], services[i%len(services)]+":1.0", load{
			cpu: 0.05 * size, mem: 40 * mib * size, read: 10 * kib * size, write: 30 * kib * size, rx: 60 * kib * size, tx: 80 * kib * size, tasks: 3 * size, conns: 4 * size,
		})
		r.name = r.name[:len(r.name)-1] + string(rune('1'+i/8%9)) + string(rune('a'+i/72))
		r.memLimit, r.cpuLimit = 512*mib, 2
		roles[i] = r
	}
	return newWorld(begin, roles, nil)
}
