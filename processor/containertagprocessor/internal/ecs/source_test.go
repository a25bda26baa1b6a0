package ecs_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/ecs"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/fetch"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/sinktest"
)

var _ entity.Source = (*ecs.Source)(nil)

const (
	simpleApp = "189a8ff4b5f04affe40e5160a5ffadca395136eb5faf4950c57963c06f82c76d"
	busybox   = "f7f1f8a7a245c5da83aa92729bd28c6bcb004d1f6a35409e4207e1d34030e966"
	curl      = "ee08638adaaf009d78c248913f629e38299471d45fe7dc944d1039077e3424ca"
	pause     = "598cba581fe3f939459eaba1e071d5c93bb2c49b7d1ba7db6bb19deeb70d8e38"
	fargate   = "bfa2636268144d039771334145e490c5-1117626119"
	image     = "sha256:d691691e9652791a60114e67b365688d20d19940dde7c4736ea30e660d8d3553"
	base      = "arn:aws:ecs:us-west-2:111122223333:"
	up, down  = "up ecs", "down ecs"
	noTasks   = `{"Tasks":[]}`
)

func check(t *testing.T, sink *sinktest.Recorder, want *entity.Container) {
	t.Helper()
	have := sink.Container(want.ID)
	if diff := cmp.Diff(want, have, cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +have)\n%s", diff)
	}
}

func date(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		panic(err)
	}
	return t
}

func TestAgent(t *testing.T) {
	verifyNoLeaks(t)
	a := agent(t)
	_, sink := run(t, ecs.Options{Introspection: a.url + "/", LaunchType: "EC2"})
	sink.Await(t, up, 1)
	task := &entity.Task{
		ClusterARN: base + "cluster/default",
		TaskARN:    base + "task/default/090eff9b1ce34db6848aa8d14064fd24",
		Family:     "console-sample-app-static", Revision: "6",
		ContainerName: "simple-app", LaunchType: "ec2",
	}
	check(t, sink, &entity.Container{
		ID:        simpleApp,
		Name:      "ecs-console-sample-app-static-6-simple-app-86caf9bcabe3e9c61600",
		Image:     entity.Image{Name: "httpd", Tags: []string{"2.4"}, ID: image},
		Addresses: []netip.Addr{netip.MustParseAddr("172.17.0.3")},
		Created:   date("2026-01-02T03:04:05.602352471Z"),
		Task:      task,
	})
	old := *task
	old.ContainerName = "busybox"
	check(t, sink, &entity.Container{
		ID: busybox, Name: "ecs-console-sample-app-static-6-busybox-ce83ce978a87a890ab01", Task: &old,
	})
	testkit.Eventually(t, 30*time.Second, func() error {
		if n := len(a.times("/v1/tasks")); n < 5 {
			return fmt.Errorf("asked %d times", n)
		}
		return nil
	})
	if diff := cmp.Diff([]string{"put ecs " + simpleApp, "put ecs " + busybox, up}, sink.Calls()); diff != "" {
		t.Errorf("told what has not changed (-want +have)\n%s", diff)
	}
	if n := len(a.times("/v1/metadata")); n != 1 {
		t.Errorf("asked for the cluster %d times", n)
	}
}

func TestEndpointOnEC2(t *testing.T) {
	verifyNoLeaks(t)
	a := agent(t)
	a.set("/v4/abc/task", fixture(t, "task-ec2.json"))
	_, sink := run(t, ecs.Options{Introspection: a.url, MetadataURI: a.url + "/v4/abc"})
	sink.Await(t, up, 1)
	check(t, sink, &entity.Container{
		ID:    curl,
		Name:  "ecs-curltest-26-curl-a0e7dba5aca6d8cb2e00",
		Image: entity.Image{Name: "111122223333.dkr.ecr.us-west-2.amazonaws.com/curltest", Tags: []string{"latest"}, ID: image},
		Labels: map[string]string{
			"com.amazonaws.ecs.cluster":                "default",
			"com.amazonaws.ecs.container-name":         "curl",
			"com.amazonaws.ecs.task-definition-family": "curltest",
		},
		Addresses: []netip.Addr{netip.MustParseAddr("10.0.2.61"), netip.MustParseAddr("2600:1f14:30ab:6902:ecf8:81ff:fe10:1c2d")},
		Created:   date("2020-10-02T00:43:06.326590752Z"),
		Task: &entity.Task{
			ClusterARN: base + "cluster/default",
			TaskARN:    base + "task/default/158d1c8083dd49d6b527399fd6414f5c",
			Family:     "curltest", Revision: "26", Service: "MyService",
			ContainerARN:  base + "container/abb51bdd-11b4-467f-8f6c-adcfe1fe059d",
			ContainerName: "curl", LaunchType: "ec2",
		},
	})
	if c := sink.Container(pause); c == nil || len(c.Addresses) != 0 {
		t.Errorf("pause: %+v", c)
	}
	// Its host is the same, so the others' launch type is, too.
	if c := sink.Container(simpleApp); c == nil || c.Task.LaunchType != "ec2" {
		t.Errorf("simple-app: %+v", c)
	}
}

// On Fargate nobody is asked at localhost, where another container of the task
// may listen.
func TestFargate(t *testing.T) {
	verifyNoLeaks(t)
	a := agent(t)
	a.set("/v4/abc/task", fixture(t, "task-fargate.json"))
	_, sink := run(t, ecs.Options{Introspection: a.url, MetadataURI: a.url + "/v4/abc"})
	sink.Await(t, up, 1)
	const sum = "sha256:25f3695bedfb454a50f12d127839a68ad3caf91e451c1da073db34c542c4d2cb"
	check(t, sink, &entity.Container{
		ID: fargate, Name: "curl-image",
		Image:   entity.Image{Name: "curlimages/curl", ID: sum, Digests: []string{"curlimages/curl@" + sum}},
		Labels:  map[string]string{"com.amazonaws.ecs.container-name": "curl-image"},
		Created: date("2020-10-08T20:21:13.902421337Z"),
		Task: &entity.Task{
			ClusterARN: base + "cluster/MyEmptyCluster",
			TaskARN:    base + "task/MyEmptyCluster/bfa2636268144d039771334145e490c5",
			Family:     "sample-fargate", Revision: "5",
			ContainerARN:  base + "container/MyEmptyCluster/bfa2636268144d039771334145e490c5/da6cccf7-1178-400c-afdf-7536173ee209",
			ContainerName: "curl-image", LaunchType: "fargate",
		},
	})
	if n := len(a.times("/v1/metadata")); n != 0 {
		t.Errorf("asked the agent %d times", n)
	}
}

func TestChangesAndEnds(t *testing.T) {
	verifyNoLeaks(t)
	a := agent(t)
	source, sink := run(t, ecs.Options{Introspection: a.url})
	sink.Await(t, up, 1)
	a.set("/v1/tasks", strings.Replace(fixture(t, "tasks.json"), `"Version": "6"`, `"Version": "7"`, 1))
	sink.Await(t, "put ecs "+simpleApp, 2)
	if have := sink.Container(simpleApp).Task.Revision; have != "7" {
		t.Errorf("revision %s", have)
	}
	a.set("/v1/tasks", noTasks)
	sink.Await(t, "gone ecs "+simpleApp, 1)
	sink.Await(t, "gone ecs "+busybox, 1)
	source.Want(simpleApp, "")
	sink.Await(t, "absent ecs "+simpleApp, 1)
	if n := sink.Count(down); n != 0 {
		t.Errorf("down %d times", n)
	}
}

func TestOutages(t *testing.T) {
	f := func(name string, check func(error) bool, broken http.HandlerFunc) {
		t.Run(name, func(t *testing.T) {
			verifyNoLeaks(t)
			a := newFake(t)
			a.set("/v1/metadata", fixture(t, "metadata.json"))
			a.setFunc("/v1/tasks", broken)
			source, sink := run(t, ecs.Options{Introspection: a.url, Timeout: 100 * time.Millisecond})
			source.Want("unknown", "")
			sink.Await(t, down, 1)
			if err := sink.Downs()[0]; !check(err) {
				t.Errorf("told %v", err)
			}
			t.Log("it comes")
			a.set("/v1/tasks", fixture(t, "tasks.json"))
			sink.Await(t, up, 1)
			sink.Await(t, "put ecs "+simpleApp, 1)
			sink.Await(t, "absent ecs unknown", 1)
			t.Log("it goes: its containers stay")
			a.setFunc("/v1/tasks", broken)
			sink.Await(t, down, 2)
			if sink.Container(simpleApp) == nil {
				t.Error("the container is gone with the agent")
			}
			t.Log("it comes again, with another cluster")
			a.set("/v1/metadata", `{"Cluster":"other"}`)
			a.set("/v1/tasks", fixture(t, "tasks.json"))
			sink.Await(t, up, 2)
			if have := sink.Container(simpleApp).Task.ClusterARN; have != base+"cluster/other" {
				t.Errorf("cluster %s", have)
			}
			if n := sink.Count(down); n != 2 {
				t.Errorf("down %d times: %v", n, sink.Downs())
			}
		})
	}
	says := func(text string) func(error) bool {
		return func(err error) bool { return strings.Contains(err.Error(), text) }
	}
	body := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }
	}
	f("not found", says("status 404"), http.NotFound)
	f("malformed", says("parse the ECS agent's tasks"), body(`{"Tasks": [`))
	f("another document", says("a field is missing: Tasks"), body(`{}`))
	f("slow", says("deadline"), func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	f("elsewhere", says("status 302"), func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/v1/metadata", http.StatusFound)
	})
}

func TestHugeAnswer(t *testing.T) {
	verifyNoLeaks(t)
	a := agent(t)
	sent := make(chan int, 100)
	a.setFunc("/v1/tasks", func(w http.ResponseWriter, _ *http.Request) {
		chunk, n := []byte(strings.Repeat(" ", 1<<20)), 0
		for range 64 {
			written, err := w.Write(chunk)
			if n += written; err != nil {
				break
			}
		}
		select {
		case sent <- n:
		default:
		}
	})
	_, sink := run(t, ecs.Options{Introspection: a.url, Interval: time.Minute, Gap: time.Minute})
	sink.Await(t, down, 1)
	if err := sink.Downs()[0]; !errors.Is(err, fetch.ErrTooLarge) {
		t.Errorf("told %v", err)
	}
	// 8 MiB are read; sockets hold a few more.
	if n := <-sent; n >= 64<<20 {
		t.Errorf("all %d bytes were taken", n)
	}
}

// One service of two: the one that never was there does not count, the one that
// goes does.
func TestOneOfTwo(t *testing.T) {
	verifyNoLeaks(t)
	a := newFake(t)
	a.set("/v4/abc/task", fixture(t, "task-ec2.json"))
	_, sink := run(t, ecs.Options{Introspection: a.url, MetadataURI: a.url + "/v4/abc"})
	sink.Await(t, up, 1)
	a.set("/v1/metadata", fixture(t, "metadata.json"))
	a.set("/v1/tasks", fixture(t, "tasks.json"))
	sink.Await(t, "put ecs "+simpleApp, 1)
	if n := sink.Count(down); n != 0 {
		t.Errorf("down %d times: %v", n, sink.Downs())
	}
	a.setFunc("/v1/tasks", http.NotFound)
	sink.Await(t, down, 1)
	a.set("/v4/abc/task", strings.Replace(fixture(t, "task-ec2.json"), `"26"`, `"27"`, 1))
	sink.Await(t, "put ecs "+curl, 2)
	if sink.Container(simpleApp) == nil {
		t.Error("a container is gone with its service")
	}
}

func TestWantIsSoonButNotTooOften(t *testing.T) {
	verifyNoLeaks(t)
	const gap = 200 * time.Millisecond
	a := agent(t)
	source, sink := run(t, ecs.Options{Introspection: a.url, Interval: time.Hour, Gap: gap})
	sink.Await(t, up, 1)
	source.Want("", "pod")
	for i := range 5000 {
		source.Want(fmt.Sprint("unknown", i), "")
	}
	source.Want(simpleApp, "")
	sink.Await(t, "absent ecs unknown0", 1)
	// Told again, although it has not changed: somebody does not have it. The
	// thousands before leave no room for its id, so it may take another wish.
	source.Want(simpleApp, "")
	sink.Await(t, "put ecs "+simpleApp, 2)
	asked := a.times("/v1/tasks")
	for i := 1; i < len(asked); i++ {
		// The source counts from before the request, the fake from its arrival.
		if since := asked[i].Sub(asked[i-1]); since < gap-50*time.Millisecond {
			t.Errorf("asked again after %v", since)
		}
	}
	if len(asked) > 4 {
		t.Errorf("asked %d times", len(asked))
	}
}

func TestWantBeforeRun(t *testing.T) {
	verifyNoLeaks(t)
	a := agent(t)
	source := ecs.New(ecs.Options{Introspection: a.url, Gap: 10 * time.Millisecond})
	source.Want("unknown", "")
	sink := new(sinktest.Recorder)
	sinktest.Run(t, source, sink)
	sink.Await(t, "absent ecs unknown", 1)
}

func TestStopsAtOnce(t *testing.T) {
	verifyNoLeaks(t)
	a := newFake(t)
	a.setFunc("/v1/metadata", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	sink := new(sinktest.Recorder)
	stop := sinktest.Run(t, ecs.New(ecs.Options{Introspection: a.url, Timeout: time.Hour}), sink)
	testkit.Eventually(t, 30*time.Second, func() error {
		if len(a.times("/v1/metadata")) == 0 {
			return errors.New("not asked yet")
		}
		return nil
	})
	stop()
	if calls := sink.Calls(); len(calls) != 0 {
		t.Errorf("told %q", calls)
	}
}
