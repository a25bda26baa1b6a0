package imageref_test

import (
	"strings"
	"testing"

	"github.com/tallymanhq/tallyman/internal/imageref"
)

var (
	digits = strings.Repeat("0f", 32)
	digest = "sha256:" + digits
)

func TestParse(t *testing.T) {
	f := func(text string, want imageref.Ref) {
		t.Helper()
		got, ok := imageref.Parse(text)
		if got != want || ok != (want.Name != "") {
			t.Errorf("%.80q: %+v %v, want %+v", text, got, ok, want)
		}
	}
	f("nginx", imageref.Ref{Name: "nginx"})
	f("nginx:1.25", imageref.Ref{Name: "nginx", Tag: "1.25"})
	f("registry:5000/team/app:1.2", imageref.Ref{Name: "registry:5000/team/app", Tag: "1.2"})
	f("registry:5000/team/app", imageref.Ref{Name: "registry:5000/team/app"})
	f("nginx:1.25@"+digest, imageref.Ref{Name: "nginx", Tag: "1.25", Digest: digest})
	f("nginx@"+digest, imageref.Ref{Name: "nginx", Digest: digest})
	f(digest, imageref.Ref{})
	f(digits, imageref.Ref{})
	f(digest[:19], imageref.Ref{}) // the beginning of an id, no image "sha256"
	f("@"+digest, imageref.Ref{})
	f("", imageref.Ref{})
	f("NGINX", imageref.Ref{})
	f("two words", imageref.Ref{})
	f(strings.Repeat("a/", 600)+"b:tag", imageref.Ref{})
	f("nginx:"+strings.Repeat("1", 2000), imageref.Ref{})
}

func TestID(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		if got := imageref.ID(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	f(digest, digest)
	f(digits, digest)
	f(digits[:63], "")
	f(digits+"0", "")
	f(strings.ToUpper(digits), "")
	f("sha512:"+digits, "")
	f("nginx", "")
	f("", "")
}

// FuzzParse: a name never has a tag or a digest in it, and can be read again as
// itself.
func FuzzParse(f *testing.F) {
	f.Add("nginx:1.25")
	f.Add("localhost:5000/a@" + digest)
	f.Add("sha256/a:" + digits)
	f.Fuzz(func(t *testing.T, text string) {
		ref, ok := imageref.Parse(text)
		if !ok {
			if ref != (imageref.Ref{}) {
				t.Errorf("%q is none, and %+v", text, ref)
			}
			return
		}
		again, ok := imageref.Parse(ref.Name)
		if imageref.ID(ref.Name) == "" && (!ok || again != imageref.Ref{Name: ref.Name}) {
			t.Errorf("%q has the name %q, which is %+v", text, ref.Name, again)
		}
	})
}
