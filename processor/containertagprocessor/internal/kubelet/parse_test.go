package kubelet

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
)

func TestParsePods(t *testing.T) {
	f := func(text string, names string, broken ...identity) {
		t.Helper()
		all, err := parsePods([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		var got []string
		for _, p := range all.whole {
			got = append(got, p.Metadata.Name)
		}
		if strings.Join(got, " ") != names || !slices.Equal(all.broken, broken) {
			t.Errorf("%s: pods %q and %v broken, want %q and %v", text, got, all.broken, names, broken)
		}
	}
	f(`{"kind":"PodList","items":[]}`, "")
	f(`{"items":null}`, "")
	f(`{"items":[{"metadata":{"uid":"1","name":"a"}},{"metadata":{"uid":"2","name":"b"}}],"more":[1,{"items":3}]}`, "a b")
	// A pod of another form is broken, the next one counts.
	f(`{"items":[{"metadata":{"uid":1}},{"metadata":"x"},5,{"metadata":{"uid":"2","name":"b"}}]}`, "b", identity{})
	f(`{"items":[{"metadata":{"name":"no-uid"}},null]}`, "", identity{name: "no-uid"}, identity{})
	f(`{"items":[{"metadata":{"uid":"1","name":"a"},"status":null,"spec":{"containers":null}}]}`, "a")
	// What is of the right type in a broken one is known of it.
	f(`{"items":[{"metadata":{"labels":7,"uid":"1","name":"a","namespace":"n"}}]}`, "", identity{uid: "1", namespace: "n", name: "a"})
	f(`{"items":[{"metadata":{"uid":{},"name":"a","namespace":"n"}}]}`, "", identity{namespace: "n", name: "a"})
	f(`{"items":[{"spec":[],"metadata":{"uid":"1","name":[]}}]}`, "", identity{uid: "1"})
	// A time that is none is missing, and the pod is as good as before.
	f(`{"items":[{"metadata":{"uid":"1","name":"a"},"status":{"containerStatuses":[{"state":{"running":{"startedAt":"soon"}}}]}}]}`, "a")

	bad := func(text string) {
		t.Helper()
		if all, err := parsePods([]byte(text)); err == nil {
			t.Errorf("%s: no error, pods %v", text, all)
		}
	}
	bad(``)
	bad(`null`)
	bad(`[]`)
	bad(`{}`)
	bad(`{"kind":"Status","status":"Failure"}`)
	bad(`{"items":{}}`)
	bad(`{"items":[{"metadata":{"uid":"1"}}`)
	bad(`{"items":[{"metadata":{"uid":"1"}}]`)
	bad(`{"items":[{"metadata":{"uid":"1"}},}]}`)
	bad(`{"items":[]} {"items":[]}`)
	bad(`<html>`)
	bad(`{"items":[` + strings.Repeat("[", 20000))
	bad(`{"x":` + strings.Repeat("[", 20000))
}

// FuzzParsePods: what is taken has a uid, and reads the same when it is
// written again.
func FuzzParsePods(f *testing.F) {
	text, err := os.ReadFile("testdata/pods.json")
	require.NoError(f, err)
	f.Add(text)
	f.Add([]byte(`{"items":[{"metadata":{"uid":"1","name":"a"}},5]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := parsePods(text)
		if err != nil {
			return
		}
		if len(all.broken) > maxBroken+1 {
			t.Errorf("%d broken ones", len(all.broken))
		}
		for i := range all.whole {
			p := &all.whole[i]
			if p.Metadata.UID == "" {
				t.Error("a pod without uid")
			}
			podsOf(p)
			addressed := 0
			for _, c := range containersOf(p, func(string) bool { return true }) {
				if len(c.Addresses) > 0 {
					addressed++
				}
				if addressed > 1 || c.ended && len(c.Addresses) > 0 {
					t.Error("an address that is shared, or of one that has ended")
				}
				if strings.ContainsAny(c.Command, "= \t\n") || len(c.Command) > 255 {
					t.Errorf("command %q", c.Command)
				}
			}
		}
		written, err := json.Marshal(map[string]any{"items": all.whole})
		require.NoError(t, err)
		again, err := parsePods(written)
		if err != nil || len(again.broken) > 0 {
			t.Errorf("%s: %v broken, %v", written, again.broken, err)
		}
		if diff := cmp.Diff(all.whole, again.whole, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("-first +second\n%s", diff)
		}
	})
}

func TestOwners(t *testing.T) {
	f := func(kind, name, hash string, want entity.Owners) {
		t.Helper()
		m := &metadata{Labels: map[string]string{hashLabel: hash}, Owners: []owner{{Kind: kind, Name: name, Controller: true}}}
		if got := ownersOf(m); got != want {
			t.Errorf("%s %s: %+v, want %+v", kind, name, got, want)
		}
	}
	f("ReplicaSet", "web-7d4b", "7d4b", entity.Owners{ReplicaSet: "web-7d4b", Deployment: "web"})
	f("ReplicaSet", "web-7d4b", "", entity.Owners{ReplicaSet: "web-7d4b"})
	f("ReplicaSet", "web-7d4b", "9999", entity.Owners{ReplicaSet: "web-7d4b"})
	f("ReplicaSet", "web7d4b", "7d4b", entity.Owners{ReplicaSet: "web7d4b"})
	f("StatefulSet", "db", "", entity.Owners{StatefulSet: "db"})
	f("DaemonSet", "agent", "", entity.Owners{DaemonSet: "agent"})
	f("Rollout", "x", "", entity.Owners{})
	f("Job", "backup-29540160", "", entity.Owners{Job: "backup-29540160", CronJob: "backup"})
	f("Job", "a-b-1612137600", "", entity.Owners{Job: "a-b-1612137600", CronJob: "a-b"})
	f("Job", "backup-20260131", "", entity.Owners{Job: "backup-20260131"})
	f("Job", "backup-1", "", entity.Owners{Job: "backup-1"})
	f("Job", "backup-2954016x", "", entity.Owners{Job: "backup-2954016x"})
	f("Job", "-29540160", "", entity.Owners{Job: "-29540160"})
	f("Job", "once", "", entity.Owners{Job: "once"})
	if got := ownersOf(&metadata{Owners: []owner{{Kind: "DaemonSet", Name: "x"}}}); got != (entity.Owners{}) {
		t.Errorf("an owner that is no controller gave %+v", got)
	}
}

func TestReadToken(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		file := t.TempDir() + "/token"
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		got, err := readToken(file)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: token %q, error %v", text, got, err)
		}
		if err != nil && !errors.Is(err, errToken) {
			t.Errorf("%q: %v", text, err)
		}
		if err != nil && len(text) > 3 && strings.Contains(err.Error(), strings.TrimSpace(text)) {
			t.Errorf("the token is in the error %v", err)
		}
	}
	f("eyJhbGciOi.J9\n", "eyJhbGciOi.J9")
	f("", "")
	f(" \n", "")
	f("secret\r\nX-Evil: 1", "")
	f("sécret", "")
	if _, err := readToken(t.TempDir() + "/missing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing token file gives %v", err)
	}
}
