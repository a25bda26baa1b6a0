package kubelet

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
)

func TestParsePods(t *testing.T) {
	f := func(text string, names string, skipped int) {
		t.Helper()
		pods, skips, err := parsePods([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		var got []string
		for _, p := range pods {
			got = append(got, p.Metadata.Name)
		}
		if strings.Join(got, " ") != names || skips != skipped {
			t.Errorf("%s: pods %q and %d skipped, want %q and %d", text, got, skips, names, skipped)
		}
	}
	f(`{"kind":"PodList","items":[]}`, "", 0)
	f(`{"items":null}`, "", 0)
	f(`{"items":[{"metadata":{"uid":"1","name":"a"}},{"metadata":{"uid":"2","name":"b"}}],"more":[1,{"items":3}]}`, "a b", 0)
	// A pod of another form is skipped, the next one counts.
	f(`{"items":[{"metadata":{"uid":1}},{"metadata":"x"},5,{"metadata":{"uid":"2","name":"b"}}]}`, "b", 3)
	f(`{"items":[{"metadata":{"name":"no-uid"}},null]}`, "", 2)
	f(`{"items":[{"metadata":{"uid":"1","name":"a"},"status":null,"spec":{"containers":null}}]}`, "a", 0)

	bad := func(text string) {
		t.Helper()
		if pods, _, err := parsePods([]byte(text)); err == nil {
			t.Errorf("%s: no error, pods %v", text, pods)
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
		pods, skipped, err := parsePods(text)
		if err != nil && (len(pods) > 0 || skipped > 0) {
			t.Errorf("%d pods beside the error %v", len(pods), err)
		}
		for i := range pods {
			if pods[i].Metadata.UID == "" {
				t.Error("a pod without uid")
			}
			podsOf(&pods[i])
			containersOf(&pods[i], func(string) bool { return true })
		}
		written, err := json.Marshal(map[string]any{"items": pods})
		require.NoError(t, err)
		again, skipped, err := parsePods(written)
		if err != nil || skipped > 0 {
			t.Errorf("%s: %d skipped, %v", written, skipped, err)
		}
		if diff := cmp.Diff(pods, again, cmpopts.EquateEmpty()); diff != "" {
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
