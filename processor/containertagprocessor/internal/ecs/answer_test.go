package ecs

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"
)

func TestClusterARN(t *testing.T) {
	f := func(cluster, task, want string) {
		t.Helper()
		if have := clusterARN(cluster, task); have != want {
			t.Errorf("%q of %q: %q, want %q", cluster, task, have, want)
		}
	}
	const long = "arn:aws:ecs:us-west-2:111122223333:task/default/158d1c8083dd49d6b527399fd6414f5c"
	const short = "arn:aws-cn:ecs:cn-north-1:111122223333:task/158d1c8083dd49d6b527399fd6414f5c"
	f("default", long, "arn:aws:ecs:us-west-2:111122223333:cluster/default")
	f("", long, "arn:aws:ecs:us-west-2:111122223333:cluster/default")
	f("other", short, "arn:aws-cn:ecs:cn-north-1:111122223333:cluster/other")
	f("", short, "")
	f("arn:aws:ecs:us-west-2:111122223333:cluster/own", long, "arn:aws:ecs:us-west-2:111122223333:cluster/own")
	f("default", "", "")
	f("default", "nonsense", "")
	f("", "", "")
}

func TestImage(t *testing.T) {
	f := func(text, name, tag, digest string) {
		t.Helper()
		have := member{Image: text}.image()
		if have.Name != name || !slices.Equal(have.Tags, list(tag)) || !slices.Equal(have.Digests, list(digest)) {
			t.Errorf("%q: %+v", text, have)
		}
	}
	const sum = "sha256:25f3695bedfb454a50f12d127839a68ad3caf91e451c1da073db34c542c4d2cb"
	f("nginx", "nginx", "", "")
	f("nginx:1.25", "nginx", "1.25", "")
	f("localhost:5000/a/b:c", "localhost:5000/a/b", "c", "")
	f("nginx@"+sum, "nginx", "", "nginx@"+sum)
	f("nginx:1.25@"+sum, "nginx", "1.25", "nginx@"+sum)
	f("", "", "", "")
	f("UPPER case!", "", "", "")
}

func list(text string) []string {
	if text == "" {
		return nil
	}
	return []string{text}
}

func TestAddresses(t *testing.T) {
	alone := member{DockerID: "a", Name: "app", Networks: []network{{Mode: "awsvpc", IPv4: []string{"10.0.0.1", "10.0.0.1", "x"}}}}
	pause := member{DockerID: "p", Name: "~internal~ecs~pause", Networks: alone.Networks}
	second := member{DockerID: "b", Name: "log", Networks: alone.Networks}
	host := member{DockerID: "h", Name: "app", Networks: []network{{Mode: "host", IPv4: []string{"10.0.0.1"}}}}
	f := func(id string, want int, members ...member) {
		t.Helper()
		c := task{members: members}.containers()[id]
		if len(c.Addresses) != want || want == 1 && c.Addresses[0] != netip.MustParseAddr("10.0.0.1") {
			t.Errorf("%s of %d: %v, want %d", id, len(members), c.Addresses, want)
		}
	}
	f("a", 1, alone)
	f("a", 1, alone, pause)
	f("p", 0, alone, pause)
	f("p", 1, pause)
	f("a", 0, alone, pause, second)
	f("b", 0, alone, pause, second)
	f("h", 0, host)
	many := member{DockerID: "m", Networks: make([]network, 2)}
	for i := range maxAddresses {
		many.Networks[0].IPv4 = append(many.Networks[0].IPv4, fmt.Sprintf("10.0.0.%d", i))
		many.Networks[1].IPv4 = append(many.Networks[1].IPv4, fmt.Sprintf("10.0.1.%d", i))
	}
	f("m", maxAddresses, many)
}

func TestParseRefuses(t *testing.T) {
	f := func(text string) {
		t.Helper()
		if cluster, err := parseAgent([]byte(text)); err == nil {
			t.Errorf("agent %q: %q", text, cluster)
		}
		if tasks, err := parseTasks([]byte(text)); err == nil {
			t.Errorf("tasks %q: %v", text, tasks)
		}
		if task, err := parseTask([]byte(text)); err == nil {
			t.Errorf("task %q: %v", text, task)
		}
	}
	f("")
	f("{}")
	f("[]")
	f("null")
	f(`{"Tasks": 1, "Cluster": 1, "TaskARN": 1}`)
	f(`{"Tasks": [{"Containers": "x"}], "Containers": "x"}`)
	f(`{"Tasks": [{}], "TaskARN": "a", "Cluster": "c"`)
}

func TestNoTasksIsAnAnswer(t *testing.T) {
	if tasks, err := parseTasks([]byte(`{"Tasks":[]}`)); err != nil || len(tasks) != 0 {
		t.Errorf("%v, %v", tasks, err)
	}
	if tasks, err := parseTasks([]byte(`{"Tasks":[null]}`)); err != nil || len(tasks[0].containers()) != 0 {
		t.Errorf("%v, %v", tasks, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"metadata.json", "tasks.json", "task-ec2.json", "task-fargate.json"} {
		content, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if cluster, err := parseAgent(text); err == nil && cluster == "" {
			t.Fatal("accepted an agent without a cluster")
		}
		tasks, _ := parseTasks(text)
		if own, err := parseTask(text); err == nil {
			tasks = append(tasks, own)
		}
		for _, task := range tasks {
			checkContainers(t, task)
		}
	})
}

// checkContainers fails unless all have ids, and none the address of another.
func checkContainers(t *testing.T, task task) {
	t.Helper()
	shared := task.sharedAddresses()
	owner := make(map[netip.Addr]string)
	for id, c := range task.containers() {
		if id != c.ID || !isID(id) || c.Task == nil || c.Task.TaskARN != task.arn {
			t.Fatalf("%q: %+v", id, c)
		}
		for _, a := range c.Addresses {
			if other, isTaken := owner[a]; isTaken && shared[a] > 0 {
				t.Fatalf("%v is said to be of %q and of %q", a, other, id)
			}
			owner[a] = id
		}
	}
}
