package target_test

import (
	"net/netip"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tallymanhq/tallyman/internal/discovery/target"
)

func listener(addr, executable string) target.Listener {
	return target.Listener{Addr: netip.MustParseAddrPort(addr), Protocol: target.TCP, PID: 7, Executable: executable}
}

func redis() *target.Target {
	return &target.Target{
		ID: "c1", Name: "cache", Image: "library/redis", ImageTag: "7", Runtime: "docker", State: "running", PID: 7,
		Labels:      map[string]string{"team": "a"},
		Addresses:   []target.Address{{Network: "bridge", IP: netip.MustParseAddr("172.17.0.2")}},
		Ports:       []target.Port{{Number: 6379, Protocol: target.TCP, HostPort: 16379}},
		Executables: []string{"redis-server"},
		Listening:   []target.Listener{listener("[::]:6379", "redis-server"), listener("0.0.0.0:6379", "redis-server")},
		Technologies: []target.Technology{
			{Name: "redis", Port: 6379, Confidence: target.Certain, By: "executable redis-server", Receiver: "redis"}},
		Resource: map[string]string{"container.id": "c1"},
	}
}

func TestEndpoints(t *testing.T) {
	f := func(name string, change func(*target.Target), want ...string) {
		t.Helper()
		one := redis()
		change(one)
		var got []string
		for _, e := range one.Endpoints() {
			got = append(got, e.Addr.String()+" "+e.Protocol)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
	f("both families are one", func(*target.Target) {}, "172.17.0.2:6379 tcp")
	f("only announced", func(o *target.Target) { o.Listening = nil }, "172.17.0.2:6379 tcp")
	f("announced, but another listens", func(o *target.Target) {
		o.Listening = []target.Listener{listener("0.0.0.0:7000", "redis-server")}
	}, "172.17.0.2:7000 tcp")
	f("loopback is not reachable and hides nothing", func(o *target.Target) {
		o.Listening = []target.Listener{listener("127.0.0.11:40123", "")}
	}, "172.17.0.2:6379 tcp")
	f("TCP sockets do not hide UDP ports", func(o *target.Target) {
		o.Ports = append(o.Ports, target.Port{Number: 53, Protocol: target.UDP})
	}, "172.17.0.2:6379 tcp", "172.17.0.2:53 udp")
	f("bound to one address", func(o *target.Target) {
		o.Addresses = append(o.Addresses, target.Address{IP: netip.MustParseAddr("10.1.0.9")})
		o.Listening = []target.Listener{listener("[::ffff:10.1.0.9]:6379", "")}
	}, "10.1.0.9:6379 tcp")
	f("bound to an address that it does not have", func(o *target.Target) {
		o.Listening = []target.Listener{listener("169.254.169.254:80", ""), listener("10.1.0.9:6379", ""), listener("[fd00::9]:6379", "")}
	}, "172.17.0.2:6379 tcp")
	f("nor where its own are not known", func(o *target.Target) {
		o.Addresses, o.Ports = nil, nil
		o.Listening = []target.Listener{listener("169.254.169.254:80", "")}
	})
	f("no address, but published", func(o *target.Target) { o.Addresses = nil }, "127.0.0.1:16379 tcp")
	f("no address at all", func(o *target.Target) { o.Addresses, o.Ports = nil, nil })
	f("host network", func(o *target.Target) {
		o.HostNetwork, o.Addresses = true, nil
		o.Listening = append(o.Listening, listener("127.0.0.1:9000", "x"), listener("[::]:9100", "y"))
	}, "127.0.0.1:6379 tcp", "127.0.0.1:9000 tcp", "127.0.0.1:9100 tcp")
	f("host network, IPv6 alone", func(o *target.Target) {
		o.HostNetwork, o.Addresses = true, nil
		o.Listening = []target.Listener{v6only("[::]:9100"), listener("[::1]:9200", "x")}
	}, "[::1]:9100 tcp", "[::1]:9200 tcp")
	f("by number", func(o *target.Target) {
		o.Listening = []target.Listener{listener("0.0.0.0:443", ""), listener("0.0.0.0:80", "")}
	}, "172.17.0.2:80 tcp", "172.17.0.2:443 tcp")
}

// A socket is asked by an address of a family that it takes: of an address for both, by
// IPv4.
func TestFamilies(t *testing.T) {
	v4, v6 := "10.0.0.2", "fd00::2"
	f := func(l target.Listener, addresses []string, want ...string) {
		t.Helper()
		one := redis()
		one.Addresses, one.Listening = nil, []target.Listener{l}
		for _, text := range addresses {
			one.Addresses = append(one.Addresses, target.Address{IP: netip.MustParseAddr(text)})
		}
		var got []string
		for _, e := range one.Endpoints() {
			if e.Listening {
				got = append(got, e.Addr.String())
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%+v at %q: (-want +got)\n%s", l, addresses, diff)
		}
	}
	plain, both, only := listener("0.0.0.0:6379", ""), listener("[::]:6379", ""), v6only("[::]:6379")
	f(plain, []string{v6, v4}, "10.0.0.2:6379")
	f(plain, []string{v6})
	f(plain, nil, "127.0.0.1:16379")
	f(both, []string{v6, v4}, "10.0.0.2:6379")
	f(both, []string{v6}, "[fd00::2]:6379")
	f(both, []string{v6, "fd00::3", v4, "10.0.0.3"}, "10.0.0.2:6379")
	f(only, []string{v4, v6}, "[fd00::2]:6379")
	f(only, []string{v4})
	f(both, []string{"::ffff:10.0.0.2"}, "10.0.0.2:6379")
}

func v6only(addr string) target.Listener {
	l := listener(addr, "")
	l.V6Only = true
	return l
}

// In a network with others an announced port may be theirs: only sockets count.
func TestSharedNetwork(t *testing.T) {
	one := redis()
	one.SharedNetwork = true
	if got := one.Endpoints(); len(got) != 1 || !got[0].Listening || got[0].HostPort != 16379 {
		t.Errorf("%+v", got)
	}
	one.Listening = nil
	if got := one.Endpoints(); len(got) > 0 {
		t.Errorf("announced and not seen: %+v", got)
	}
}

func TestEnvs(t *testing.T) {
	envs := redis().Envs()
	if len(envs) != 2 {
		t.Fatalf("%d, want the port and the container", len(envs))
	}
	one := redis()
	want := target.Env{
		Type: "container", ID: "c1", ContainerID: "c1", Name: "cache", Image: "library/redis", Tag: "7", Command: "redis-server",
		Host: "172.17.0.2", Executables: one.Executables, Technology: "redis", Confidence: "certain", Technologies: []string{"redis"},
		Ports: []int{6379}, Labels: one.Labels, Networks: map[string]string{"bridge": "172.17.0.2"}, Addresses: []string{"172.17.0.2"},
		Runtime: "docker", State: "running", PID: 7, Pod: target.Pod{Labels: one.Labels}, Resource: one.Resource,
	}
	if diff := cmp.Diff(want, envs[1]); diff != "" {
		t.Errorf("the container alone: %s", diff)
	}
	want.Port, want.AlternatePort, want.Transport, want.Endpoint = 6379, 16379, "TCP", "172.17.0.2:6379"
	want.Executable, want.Listening = "redis-server", true
	if diff := cmp.Diff(want, envs[0]); diff != "" {
		t.Errorf("at the port: %s", diff)
	}
}

// A technology that was seen at one port is not told of another.
func TestTechnologyBelongsToItsPort(t *testing.T) {
	one := redis()
	one.Listening = append(one.Listening, listener("0.0.0.0:9121", "redis_exporter"))
	for _, env := range one.Envs() {
		if env.Port == 9121 && env.Technology != "" {
			t.Errorf("port 9121 is %q", env.Technology)
		}
	}
}

func TestPod(t *testing.T) {
	one := redis()
	one.Labels = map[string]string{"io.kubernetes.pod.name": "cache-0", "io.kubernetes.pod.namespace": "shop"}
	one.Resource = map[string]string{"k8s.pod.uid": "u-1"}
	pod := one.Pod()
	if pod.Name != "cache-0" || pod.Namespace != "shop" || pod.UID != "u-1" {
		t.Errorf("%+v", pod)
	}
	one.PodName, one.PodNamespace, one.PodContainer = "told-0", "told", "cache"
	if pod := one.Pod(); pod.Name != "told-0" || pod.Namespace != "told" || pod.Container != "cache" {
		t.Errorf("%+v", pod)
	}
}

// Each field counts: a field that Equal forgets is a change that nobody sees.
func TestEqual(t *testing.T) {
	if !redis().Equal(redis()) {
		t.Fatal("equal to itself: no")
	}
	fields := reflect.TypeFor[target.Target]()
	for i := range fields.NumField() {
		other := redis()
		change(reflect.ValueOf(other).Elem().Field(i))
		if other.Equal(redis()) {
			t.Errorf("field %s makes no difference", fields.Field(i).Name)
		}
	}
	empty := redis()
	empty.Annotations = map[string]string{}
	if !empty.Equal(redis()) {
		t.Error("an empty map is not none")
	}
}

func change(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Int:
		v.SetInt(v.Int() + 1)
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"other": "x"}))
	default: // a slice
		v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
	}
}

func TestNormalise(t *testing.T) {
	one, two := redis(), redis()
	one.Listening = []target.Listener{listener("0.0.0.0:80", ""), listener("0.0.0.0:443", ""), listener("0.0.0.0:80", "")}
	two.Listening = []target.Listener{listener("0.0.0.0:443", ""), listener("0.0.0.0:80", "")}
	two.Ports = append(two.Ports, two.Ports[0])
	one.Normalise()
	two.Normalise()
	if !one.Equal(two) {
		t.Errorf("%+v\n%+v", one, two)
	}
	one.Listening = []target.Listener{v6only("[::]:80"), listener("[::]:80", ""), v6only("[::]:80")}
	for i := range one.Listening {
		one.Listening[i].PID = 7 - i // whatever comes after the family
	}
	one.Normalise()
	if one.Listening[0].V6Only || !one.Listening[1].V6Only {
		t.Errorf("%+v", one.Listening)
	}
}

func TestHints(t *testing.T) {
	one := redis()
	one.Annotations = map[string]string{"team": "b"}
	if got := one.Hints()["team"]; got != "b" || one.Labels["team"] != "a" {
		t.Errorf("%q, labels %v", got, one.Labels)
	}
}

func BenchmarkEnvs(b *testing.B) {
	one := redis()
	b.ReportAllocs()
	for b.Loop() {
		one.Envs()
	}
}
