package watch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// packages bring all programs below. mariadb-server-core and apache2-bin are the
// servers without what installs them.
const packages = "apache2-bin bind9 gunicorn haproxy mariadb-server-core memcached mosquitto nginx pgbouncer php-fpm " +
	"postgresql rabbitmq-server redis-server unbound"

const (
	// serving is how long a program may take until it listens. When all start at
	// once on two busy cores PostgreSQL took 9 s and RabbitMQ 14.
	serving = 90 * time.Second
	// late is when a program is seen that begins to listen after the early looks.
	late = every + soon
)

// real is a program of Debian, as its documentation or its unit file starts it.
type real struct {
	// want is the technology with the ports it is seen at, the first of which is
	// waited for, and by what.
	want  string
	ports []uint16
	by    string
	// user is another than root, script what the shell runs; its last command is
	// the program, by exec.
	user, script string
}

var reals = []real{
	{want: "apache", ports: []uint16{80}, by: "executable apache2", script: `
		printf '%s\n' 'ServerName localhost' 'PidFile /tmp/pid' 'ErrorLog /dev/stderr' 'Listen 80' 'User www-data' 'Group www-data' \
			'LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so' \
			'LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so' >/tmp/conf
		exec apache2 -DFOREGROUND -f /tmp/conf`},
	// It answers for nothing and asks nobody.
	{want: "bind", ports: []uint16{53}, by: "executable named", script: `
		echo 'options { directory "/tmp"; recursion no; dnssec-validation no; pid-file none; session-keyfile none; }; controls {};' >/tmp/conf
		exec named -f -c /tmp/conf`},
	{want: "gunicorn", ports: []uint16{8000}, by: "python running gunicorn", script: `
		printf '%s\n' 'def app(environ, start):' '    start("204 No Content", [])' '    return []' >/tmp/page.py
		exec gunicorn --chdir /tmp --bind 0.0.0.0:8000 --workers 2 page:app`},
	{want: "haproxy", ports: []uint16{8404, 81}, by: "executable haproxy", script: `
		printf '%s\n' defaults ' mode http' ' timeout client 5s' ' timeout server 5s' ' timeout connect 5s' \
			'frontend stats' ' bind :8404' ' stats enable' 'frontend web' ' bind :81' >/tmp/conf
		exec haproxy -W -db -f /tmp/conf`},
	{want: "mariadb", ports: []uint16{3306}, by: "executable mariadbd", script: `
		mkdir /tmp/data && chown mysql /tmp/data
		exec mariadbd --no-defaults --user=mysql --datadir=/tmp/data --socket=/tmp/sock --skip-grant-tables`},
	{want: "memcached", ports: []uint16{11211}, by: "executable memcached", script: `exec memcached -u memcache -m 16`},
	{want: "mosquitto", ports: []uint16{1883}, by: "executable mosquitto", script: `
		printf '%s\n' 'listener 1883' 'allow_anonymous true' >/tmp/conf
		exec mosquitto -c /tmp/conf`},
	{want: "nginx", ports: []uint16{80, 8081}, by: "executable nginx", script: `
		echo 'daemon off; error_log stderr; pid /tmp/pid; events {} http { access_log off; server { listen 80; listen 8081; } }' >/tmp/conf
		exec nginx -c /tmp/conf`},
	{want: "pgbouncer", ports: []uint16{6432}, by: "executable pgbouncer", user: "postgres", script: `
		printf '%s\n' '[databases]' '* = host=127.0.0.1' '[pgbouncer]' 'listen_addr = *' 'auth_type = any' 'unix_socket_dir =' >/tmp/conf
		exec pgbouncer /tmp/conf`},
	{want: "php-fpm", ports: []uint16{9000}, by: "executable php-fpm", script: `
		printf '%s\n' '[global]' 'error_log = /dev/stderr' '[www]' 'user = www-data' 'listen = 9000' 'pm = static' 'pm.max_children = 2' >/tmp/conf
		exec "$(ls /usr/sbin/php-fpm*)" --nodaemonize --fpm-config /tmp/conf`},
	{want: "postgresql", ports: []uint16{5432}, by: "executable postgres", user: "postgres", script: `
		cd /usr/lib/postgresql/*/bin
		./initdb --pgdata=/tmp/data --no-sync --locale=C --encoding=UTF8 --auth=trust &&
		echo 'host all all all trust' >>/tmp/data/pg_hba.conf
		exec ./postgres -D /tmp/data -h '*' -k /tmp`},
	// Its other port is that for nodes and tools.
	{want: "rabbitmq", ports: []uint16{5672, 25672}, by: "beam.smp running rabbit", script: `
		export HOME=/tmp RABBITMQ_NODENAME=rabbit@localhost RABBITMQ_LOG_BASE=/tmp RABBITMQ_MNESIA_BASE=/tmp
		exec /usr/lib/rabbitmq/bin/rabbitmq-server`},
	// Debian's redis-server is a link, and the kernel tells the file's name.
	{want: "redis", ports: []uint16{6379}, by: "executable redis-check-rdb called redis-server", script: `
		exec redis-server --protected-mode no --save ''`},
	{want: "unbound", ports: []uint16{53}, by: "executable unbound", script: `
		printf '%s\n' server: ' chroot: ""' ' directory: "/tmp"' ' pidfile: "/tmp/pid"' ' use-syslog: no' ' interface: 0.0.0.0' >/tmp/conf
		exec unbound -d -c /tmp/conf`},
	// A runtime is named where nothing of the above runs in it.
	{want: "python", ports: []uint16{8080}, by: "executable python", script: `exec python3 -m http.server 8080`},
}

// eyes are the ways to look at the same containers.
func eyes(t *testing.T, engine *testkit.Engine, every time.Duration) map[string]*rig {
	t.Helper()
	v := view(t)
	return map[string]*rig{
		"engine and cgroups": newRig(t, Options{View: v, Endpoint: engine.Host(), Every: every}),
		"cgroups alone":      newRig(t, Options{View: v, Every: every}),
		"engine alone":       newRig(t, Options{Endpoint: engine.Host(), Every: every}),
	}
}

func run(t *testing.T, engine *testkit.Engine, image string, p real) *testkit.Container {
	t.Helper()
	return engine.RunContainer(t, testkit.ContainerSpec{
		// The name says nothing of what runs.
		Name: "app", Image: image, Cmd: []string{"sh", "-c", p.script},
		Adjust: func(c *container.Config, _ *container.HostConfig) { c.User = p.user },
	})
}

// Real programs of Debian in real containers are recognised for certain and where
// they serve, by each way to look, within what the issue grants.
func TestPrograms(t *testing.T) {
	engine := testkit.Docker(t)
	begun := time.Now()
	image := engine.Debian(t, strings.Fields(packages)...)
	testkit.VerifyNoLeaks(t)
	t.Logf("image after %v", time.Since(begun))
	begun = time.Now()
	looks := eyes(t, engine, every)
	containers := map[string]*testkit.Container{}
	for _, p := range reals {
		containers[p.want] = run(t, engine, image, p)
	}
	t.Logf("%d containers started within %v", len(reals), time.Since(begun))
	for _, p := range reals {
		c := containers[p.want]
		waitServing(t, c, p)
		listens := time.Now()
		for name, r := range looks {
			var got *target.Target
			testkit.Eventually(t, late, func() error {
				if got = r.target(c.ID); got == nil {
					return errors.New("not told of")
				}
				if err := p.isRecognised(got); err != nil {
					return fmt.Errorf("by %s: %w: %+v", name, err, got)
				}
				return nil
			})
			if name != "cgroups alone" && got.Name != c.Name || got.Resource["container.id"] != c.ID {
				t.Errorf("%s by %s: %+v", p.want, name, got)
			}
		}
		t.Logf("%s: seen %v after it was known to listen, %v after the first start", p.want, time.Since(listens), time.Since(begun))
	}
}

// waitServing waits until the program's first port is open.
func waitServing(t *testing.T, c *testkit.Container, p real) {
	t.Helper()
	at := netip.AddrPortFrom(address(t, c), p.ports[0]).String()
	testkit.Eventually(t, serving, func() error {
		connection, err := net.DialTimeout("tcp", at, time.Second)
		if err == nil {
			return connection.Close()
		}
		if info, _ := c.Inspect(t.Context()); info.State == nil || !info.State.Running {
			logs, _ := c.Logs(t.Context())
			t.Fatalf("%s has ended and says:\n%s", p.want, logs)
		}
		return fmt.Errorf("%s: %w", p.want, err)
	})
}

func address(t *testing.T, c *testkit.Container) netip.Addr {
	t.Helper()
	info, err := c.Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return info.NetworkSettings.Networks["bridge"].IPAddress
}

// isRecognised is a condition: this technology, surely, and no other one.
func (p real) isRecognised(got *target.Target) error {
	var ports []uint16
	for _, tech := range got.Technologies {
		if tech.Name != p.want || tech.Confidence != target.Certain || !strings.HasPrefix(tech.By, p.by) {
			return fmt.Errorf("also %+v", tech)
		}
		ports = append(ports, tech.Port)
	}
	if !slices.Equal(ports, p.ports) {
		return fmt.Errorf("%s at ports %v, want %v", p.want, ports, p.ports)
	}
	for _, env := range got.Envs() {
		if env.Port == int(p.ports[0]) && env.Transport == target.TCP && (env.Technology != p.want || !env.Listening) {
			return fmt.Errorf("at port %d a rule sees %q", env.Port, env.Technology)
		}
	}
	return nil
}

// What looks like a server and is none is not recognised as one, by no way to look.
func TestImpostors(t *testing.T) {
	engine := testkit.Docker(t)
	image := engine.Debian(t, strings.Fields(packages)...)
	testkit.VerifyNoLeaks(t)
	// The image's name says nothing against what is seen.
	const asRedis = "tallyman-test/redis:impostor"
	if _, err := engine.Client().ImageTag(t.Context(), client.ImageTagOptions{Source: image, Target: asRedis}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := engine.Client().ImageRemove(context.Background(), asRedis, client.ImageRemoveOptions{}); err != nil {
			t.Error(err)
		}
	})
	servers := map[string]string{}
	for _, name := range []string{"redis", "postgresql"} {
		p := reals[slices.IndexFunc(reals, func(p real) bool { return p.want == name })]
		c := run(t, engine, image, p)
		waitServing(t, c, p)
		servers[name] = address(t, c).String()
	}
	looks := eyes(t, engine, time.Second)
	var suspects []*testkit.Container
	f := func(name, runs, script string) {
		t.Helper()
		c := engine.RunContainer(t, testkit.ContainerSpec{Name: name, Image: asRedis, Cmd: []string{"sh", "-c", script}})
		for way, r := range looks {
			got := r.expect(t, c.ID, func(got *target.Target) error {
				if !slices.Contains(got.Executables, runs) {
					return errors.New("does not run " + runs)
				}
				return nil
			})
			if len(got.Technologies) != 0 {
				t.Errorf("%s by %s: %+v", name, way, got)
			}
		}
		suspects = append(suspects, c)
	}
	f("nginx", "busybox", "exec httpd -f -p 80 -h /tmp")
	f("redis-script", "busybox", `printf '%s\n' '#!/bin/sh' 'sleep 600' 'true' >/tmp/redis-server.sh; exec sh /tmp/redis-server.sh`)
	f("redis-named-script", "busybox", `printf '%s\n' '#!/bin/sh' 'sleep 600' 'true' >/tmp/redis-server; chmod 755 /tmp/redis-server; exec /tmp/redis-server`)
	f("redis-client", "redis-cli", "exec redis-cli -h "+servers["redis"]+" subscribe channel")
	f("redis-title", "redis-cli", `exec python3 -c '
import os
os.execv("/usr/bin/redis-cli", ["redis-server *:6379", "-h", "`+servers["redis"]+`", "subscribe", "channel"])'`)
	f("redis-tool", "redis-check-rdb", "mkfifo /tmp/dump; exec redis-check-rdb /tmp/dump")
	f("postgresql-client", "psql", "exec /usr/lib/postgresql/*/bin/psql -U postgres -h "+servers["postgresql"]+" -c 'select pg_sleep(600)'")
	// Nor later, when all has been looked at again.
	for way, r := range looks {
		before := r.Stats().Looks
		testkit.Eventually(t, 2*soon, func() error { return atLeast(r.Stats().Looks, before+2*uint64(len(suspects))) })
		for _, c := range suspects {
			if got := r.target(c.ID); got == nil || len(got.Technologies) != 0 {
				t.Errorf("%s by %s: %+v", c.Name, way, got)
			}
		}
	}
}

// Of two names that a launcher's command line has only in passing, none counts.
func TestLaunched(t *testing.T) {
	engine := testkit.Docker(t)
	image := engine.Debian(t, strings.Fields(packages)...)
	testkit.VerifyNoLeaks(t)
	looks := eyes(t, engine, time.Second)
	c := engine.RunContainer(t, testkit.ContainerSpec{Name: "app", Image: image, Cmd: []string{"sh", "-c", `
		export HOME=/tmp
		erl -noshell -sname rabbit -eval 'timer:sleep(600000).' &
		echo 'import time; time.sleep(600)' >/tmp/wait.py
		exec python3 /tmp/wait.py gunicorn`}})
	for _, r := range looks {
		r.expect(t, c.ID, func(got *target.Target) error {
			names := map[string]bool{}
			for _, tech := range got.Technologies {
				names[tech.Name] = true
			}
			if all := slices.Sorted(maps.Keys(names)); !slices.Equal(all, []string{"erlang", "python"}) {
				return fmt.Errorf("recognised %q", all)
			}
			return nil
		})
	}
}
