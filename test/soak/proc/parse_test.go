package proc

import "testing"

func TestKinds(t *testing.T) {
	f := func(target, want string) {
		t.Helper()
		if got := kind(target); got != want {
			t.Errorf("%s is %q, want %q", target, got, want)
		}
	}
	f("/sys/fs/cgroup/memory/docker/4f/memory.stat", Cgroup)
	f("/sys/fs/cgroup/memory/docker/4f/memory.stat (deleted)", Cgroup)
	f("/proc/1/ns/net", ProcFS)
	f("socket:[17]", Socket)
	f("pipe:[17]", Pipe)
	f("net:[4026531840]", Namespace)
	f("anon_inode:[pidfd]", PIDFD)
	f("pidfd:[4711]", PIDFD)
	f("anon_inode:bpf-map", BPFMap)
	f("anon_inode:bpf-prog", BPFProg)
	f("anon_inode:bpf_link", BPFLink)
	f("anon_inode:[eventpoll]", Anonymous)
	f("anon_inode:inotify", Anonymous)
	f("/var/lib/tallyman/events.jsonl", File)
	f("/var/lib/tallyman/events.jsonl (deleted)", Deleted)
}

func TestParseCPU(t *testing.T) {
	const line = "742 (a ) b) S 1 742 742 0 -1 4194560 9117 60 0 0 13 9 2 1 20 0 12 0 100"
	got, err := parseCPU([]byte(line))
	if err != nil || got.User.Milliseconds() != 130 || got.System.Milliseconds() != 90 || got.Total().Milliseconds() != 220 {
		t.Errorf("%q: %+v, %v", line, got, err)
	}
	for _, wrong := range []string{"", "742 (a) S 1", "742 (a) S 1 742 742 0 -1 4194560 9117 60 0 0 x 9 2 1"} {
		if _, err := parseCPU([]byte(wrong)); err == nil {
			t.Errorf("%q was taken", wrong)
		}
	}
}

func TestField(t *testing.T) {
	var got int64
	text := []byte("Name:\tx\nVmRSS:\t   70544 kB\nThreads:\t12\n")
	if err := field(text, "VmRSS", "kB", &got); err != nil || got != 70544*1024 {
		t.Errorf("VmRSS: %d, %v", got, err)
	}
	if err := field(text, "Threads", "", &got); err != nil || got != 12 {
		t.Errorf("Threads: %d, %v", got, err)
	}
	for _, name := range []string{"VmSwap", "Name", "Threads"} {
		if err := field(text, name, "kB", &got); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}
