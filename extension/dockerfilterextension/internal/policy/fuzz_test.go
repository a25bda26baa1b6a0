package policy

import (
	"strings"
	"testing"
)

func FuzzPlace(f *testing.F) {
	for _, s := range []string{
		"0::/\n", "0::/init.scope\n", "2:memory:/docker/" + cid("a") + "\n0::/\n",
		"0::/docker/" + cid("a") + "/docker/" + cid("b") + "\n",
		"0::/../" + cid("a") + "\n", "0::/user.slice/user@1000.service/docker-" + cid("a") + ".scope\n",
		"0::/lxc.payload.web/lxc.monitor.x\n", "0::/libpod_parent/" + cid("d") + "/conmon\n", "x", "",
	} {
		f.Add([]byte(s), []byte("0::/docker/"+cid("c")+"\n"))
	}
	f.Fuzz(func(t *testing.T, peer, self []byte) {
		at, ok := parsePlace(peer)
		if !ok {
			return
		}
		if at.host && len(at.nests) > 0 {
			t.Fatalf("host with containers: %q", peer)
		}
		for _, n := range at.nests {
			checkNest(t, n)
		}
		own, _ := parsePlace(self)
		id, ok := at.within(own)
		if !ok && id != "" || ok && (id == "") != (len(at.nests) == 0) {
			t.Fatalf("%q, %v of %q", id, ok, peer)
		}
		if ok && id != "" && !strings.Contains(string(peer), id) {
			t.Fatalf("%q is not on %q", id, peer)
		}
	})
}

func checkNest(t *testing.T, n nest) {
	t.Helper()
	for i := 1; i < len(n); i++ {
		if !strings.HasPrefix(n[i].dir, n[i-1].dir+"/") {
			t.Fatalf("%q is not below %q", n[i].dir, n[i-1].dir)
		}
	}
}

func FuzzNested(f *testing.F) {
	f.Add([]byte("Name:\tsh\nNSpid:\t7\n"))
	f.Add([]byte("NSpid:\t7\t1\n"))
	f.Add([]byte("NSpid:"))
	f.Fuzz(func(t *testing.T, status []byte) {
		nested, ok := parseNested(status)
		if nested && !ok || ok && !strings.Contains(string(status), "NSpid:") {
			t.Fatalf("%v, %v of %q", nested, ok, status)
		}
	})
}
