package docker

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

// inspectFile is a container of dockerd 20.10.24, cut to what is of interest
// around the fields that are read.
const inspectFile = `{"Id":"%ID%","Created":"2026-11-21T10:00:00.5Z","Path":"/docker-entrypoint.sh -c","Args":["secret"],
"State":{"Status":"running","Running":true,"OOMKilled":true,"Pid":4711,"ExitCode":0,"Error":"","StartedAt":"2026-11-21T10:00:01.123456789Z",
"FinishedAt":"0001-01-01T00:00:00Z","Health":{"Status":"starting","FailingStreak":0,"Log":[]}},
"Image":"sha256:abc","Name":"/web","RestartCount":3,"HostConfig":{"NetworkMode":"shop_default","Memory":1},
"Config":{"Hostname":"h","Image":"nginx:1.25","ExposedPorts":{"80/tcp":{},"443/tcp":{},"53/udp":{},"http/tcp":{}},"Env":["PATH=/bin","TOKEN=***","BARE","=x","EMPTY="],"Labels":{"com.docker.compose.project":"shop"}},
"NetworkSettings":{"Ports":{"53/udp":null,"80/tcp":[{"HostIp":"::","HostPort":"8080"},{"HostIp":"0.0.0.0","HostPort":"8080"}],
"9000":[{"HostIp":"","HostPort":"9001"}],"9002/tcp":[{"HostIp":"0.0.0.0","HostPort":""}]},"Networks":{"z":{"IPAddress":"","GlobalIPv6Address":""},
"shop_default":{"IPAddress":"172.18.0.2","GlobalIPv6Address":"fd00::2"},"odd":{"IPAddress":"nonsense"},"nil":null}}}`

func TestParseContainer(t *testing.T) {
	text := strings.Replace(inspectFile, "%ID%", id("a"), 1)
	c, err := parseContainer([]byte(text))
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(&Container{
		ID: id("a"), Name: "web", ImageRef: "nginx:1.25", ImageID: "sha256:abc", Command: "/docker-entrypoint.sh",
		Labels: map[string]string{"com.docker.compose.project": "shop"},
		Env:    map[string]string{"PATH": "/bin", "EMPTY": ""},
		Networks: []Network{
			{Name: "nil"},
			{Name: "odd"},
			{Name: "shop_default", Addresses: []netip.Addr{netip.MustParseAddr("172.18.0.2"), netip.MustParseAddr("fd00::2")}},
			{Name: "z"},
		},
		Ports: []Port{
			{Number: 53, Protocol: "udp"},
			{Number: 80, Protocol: "tcp", HostIP: netip.MustParseAddr("0.0.0.0"), HostPort: 8080},
			{Number: 80, Protocol: "tcp", HostIP: netip.MustParseAddr("::"), HostPort: 8080},
			{Number: 443, Protocol: "tcp"},
			{Number: 9000, Protocol: "tcp", HostPort: 9001},
			{Number: 9002, Protocol: "tcp"},
		},
		Hostname: "h", NetworkMode: "shop_default", Created: time.Date(2026, 11, 21, 10, 0, 0, 5e8, time.UTC),
		State: State{
			Status: "running", Health: "starting", Pid: 4711, OOMKilled: true, Restarts: 3,
			StartedAt: time.Date(2026, 11, 21, 10, 0, 1, 123456789, time.UTC),
		},
	}, c, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })))

	for _, broken := range []string{"", "null", "[]", "{}", `{"Id":"x","State":{}}`, text[:len(text)-2], strings.Replace(text, "4711", `"x"`, 1)} {
		_, err := parseContainer([]byte(broken))
		require.Error(t, err, broken)
	}
}

func TestParsePort(t *testing.T) {
	f := func(key string, want Port) {
		t.Helper()
		got, ok := parsePort(key)
		require.Equal(t, want.Number != 0, ok, key)
		require.Equal(t, want, got, key)
	}
	f("80/tcp", Port{Number: 80, Protocol: "tcp"})
	f("80/UDP", Port{Number: 80, Protocol: "udp"})
	f("65535", Port{Number: 65535, Protocol: "tcp"})
	for _, key := range []string{"", "/tcp", "0/tcp", "65536/tcp", "-1/tcp", "80-90/tcp", "x"} {
		f(key, Port{})
	}
}

func TestParseList(t *testing.T) {
	list, err := parseList([]byte(`[{"Id":"` + id("a") + `","Names":["/x/y","/z"],"Image":"i","Created":"odd","Labels":{"a":"b"}},
		{"Id":"short"},{"Id":"` + id("b") + `","Names":"odd"}]`))
	require.NoError(t, err)
	require.Equal(t, []*Container{{ID: id("a"), Name: "z", ImageRef: "i", Labels: map[string]string{"a": "b"}}, {ID: id("b")}}, list)
	for _, broken := range []string{"", "{}", `"x"`, "[", `[{"Id":"` + id("a") + `"}`} {
		_, err := parseList([]byte(broken))
		require.Error(t, err, broken)
	}
}

func TestParseEvent(t *testing.T) {
	at := time.Unix(1700000000, 123456789).UTC()
	one := 1
	f := func(text string, want Event) *message {
		t.Helper()
		m, err := parseEvent([]byte(strings.NewReplacer("%ID%", id("a"), "%T%", `"time":1700000000,"timeNano":1700000000123456789`).Replace(text)))
		require.NoError(t, err)
		want.Time = at
		require.Empty(t, cmp.Diff(want, m.Event))
		return m
	}
	base := Event{Type: "container", ID: id("a"), Name: "n", Image: "i"}
	with := func(change func(*Event)) Event {
		e := base
		change(&e)
		return e
	}
	m := f(`{"Type":"container","Action":"die","Actor":{"ID":"%ID%","Attributes":{"image":"i","name":"n","exitCode":"1","l":"v"}},%T%}`,
		with(func(e *Event) { e.Action, e.ExitCode = "die", &one }))
	require.Equal(t, map[string]string{"l": "v"}, m.labels)
	require.Equal(t, useTell, m.use)
	m = f(`{"Type":"container","Action":"exec_create: sh -c secret","Actor":{"ID":"%ID%","Attributes":{"image":"i","name":"n"}},%T%}`,
		with(func(e *Event) { e.Action = "exec_create" }))
	require.Equal(t, useNone, m.use)
	f(`{"Type":"container","Action":"health_status: unhealthy","Actor":{"ID":"%ID%","Attributes":{"image":"i","name":"n"}},%T%}`,
		with(func(e *Event) { e.Action, e.Health = "health_status", "unhealthy" }))
	f(`{"Type":"container","Action":"health_status: secret output","Actor":{"ID":"%ID%","Attributes":{"image":"i","name":"n"}},%T%}`,
		with(func(e *Event) { e.Action = "health_status" }))
	f(`{"Type":"container","Action":"kill","Actor":{"ID":"%ID%","Attributes":{"image":"i","name":"n","signal":"15"}},%T%}`,
		with(func(e *Event) { e.Action, e.Signal = "kill", "15" }))
	f(`{"Type":"container","Action":"rename","Actor":{"ID":"%ID%","Attributes":{"image":"i","name":"n","oldName":"/o"}},%T%}`,
		with(func(e *Event) { e.Action, e.OldName = "rename", "o" }))
	f(`{"Type":"network","Action":"connect","Actor":{"ID":"net","Attributes":{"container":"%ID%","name":"br"}},%T%}`,
		Event{Type: "network", Action: "connect", ID: "net", Container: id("a"), Network: "br"})
	m = f(`{"Type":"image","Action":"delete","Actor":{"ID":"sha256:1","Attributes":{"name":"nginx:1"}},%T%}`,
		Event{Type: "image", Action: "delete", ID: "sha256:1", Image: "nginx:1"})
	require.Equal(t, useTell, m.use)
	// As Podman writes them.
	f(`{"Type":"container","Action":"died","Actor":{"ID":"%ID%","Attributes":{"image":"i","name":"n","containerExitCode":"1"}},%T%}`,
		with(func(e *Event) { e.Action, e.ExitCode = "die", &one }))
	f(`{"Type":"container","Action":"remove","Actor":{"ID":"%ID%","Attributes":{"image":"i","name":"n"}},%T%}`,
		with(func(e *Event) { e.Action = "destroy" }))
	f(`{"Type":"container","Action":"health_status","HealthStatus":"healthy","Actor":{"ID":"%ID%","Attributes":{"image":"i","name":"n"}},%T%}`,
		with(func(e *Event) { e.Action, e.Health = "health_status", "healthy" }))
	f(`{"Type":"network","Action":"connect","Actor":{"ID":"%ID%","Attributes":{"network":"br"}},%T%}`,
		Event{Type: "network", Action: "connect", ID: id("a"), Container: id("a"), Network: "br"})
}

func FuzzParseContainer(f *testing.F) {
	f.Add([]byte(strings.Replace(inspectFile, "%ID%", id("a"), 1)))
	f.Add([]byte(`{"Id":"x","State":null,"NetworkSettings":{"Networks":{"a":null}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := parseContainer(body)
		if err != nil {
			return
		}
		if !isID(c.ID) || strings.ContainsAny(c.Command, " \t\n") {
			t.Fatalf("%+v", c)
		}
		for _, port := range c.Ports {
			if port.Number == 0 || port.Protocol == "" || port.HostPort == 0 && port.HostIP.IsValid() {
				t.Fatalf("%+v", port)
			}
		}
		for name, value := range c.Env {
			if name == "" || value == masked {
				t.Fatalf("%q=%q", name, value)
			}
		}
	})
}

func FuzzParseEvent(f *testing.F) {
	f.Add([]byte(`{"Type":"container","Action":"health_status: healthy","Actor":{"ID":"` + id("a") + `","Attributes":{"name":"n"}},"timeNano":5}`))
	f.Add([]byte(`{"Type":"network","Action":"connect","Actor":{"ID":"n","Attributes":{"container":"x"}},"time":1}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		m, err := parseEvent(line)
		if err != nil {
			return
		}
		if strings.Contains(m.Action, ":") || m.about() != "" && !isID(m.about()) {
			t.Fatalf("%+v", m)
		}
		if !json.Valid(line) {
			t.Fatalf("took %q", line)
		}
	})
}

func FuzzParseList(f *testing.F) {
	f.Add([]byte(`[{"Id":"` + id("a") + `","Names":["/n"]}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		list, err := parseList(body)
		for _, c := range list {
			if err != nil || !isID(c.ID) {
				t.Fatalf("%v %+v", err, c)
			}
		}
	})
}
