package technology_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/tallymanhq/tallyman/internal/discovery/technology"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

const (
	docs         = "../../../docs/technologies.md"
	distribution = "../../../builder-config.yaml"
)

// The page shows the table as it is; TALLYMAN_UPDATE=1 writes it there.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), "<!-- table -->\n")
	shown, after, ok2 := strings.Cut(rest, "<!-- end of table -->\n")
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", docs)
	}
	want := table(t)
	if os.Getenv(testkit.UpdateEnv) == "1" {
		page := before + "<!-- table -->\n" + want + "<!-- end of table -->\n" + after
		if err := os.WriteFile(docs, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := gocmp.Diff(want, shown); diff != "" {
		t.Errorf("%s (%s=1 updates it): (-want +got)\n%s", docs, testkit.UpdateEnv, diff)
	}
}

func table(t *testing.T) string {
	t.Helper()
	contained := receivers(t)
	var b strings.Builder
	b.WriteString("| technology | program | image | usual ports | receiver |\n|---|---|---|---|---|\n")
	for _, e := range technology.Table() {
		receiver := ""
		if e.Receiver != "" {
			receiver = "`" + e.Receiver + "`"
			if !contained[strings.ReplaceAll(e.Receiver, "_", "")] {
				receiver += " (not here)"
			}
		}
		var ports []string
		for _, port := range e.Ports {
			if text := fmt.Sprint(port); port == e.Telling {
				ports = append(ports, "**"+text+"**")
			} else {
				ports = append(ports, text)
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", e.Name, programs(e), quoted(e.Images), strings.Join(ports, ", "), receiver)
	}
	return b.String()
}

func programs(e technology.Entry) string {
	var all []string
	if len(e.Executables) > 0 {
		all = append(all, quoted(e.Executables))
	}
	if e.Launcher != "" {
		all = append(all, "`"+e.Launcher+"` running "+quoted(e.Words))
	}
	text := strings.Join(all, "; ")
	if len(e.Serves) > 0 {
		text += ", commanded to " + quoted(e.Serves)
	}
	if len(e.Twins) > 0 {
		text += ", but not as " + quoted(e.Twins)
	}
	if e.Runtime {
		text += " (runtime)"
	}
	return text
}

func quoted(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "`" + strings.Join(names, "`, `") + "`"
}

// receivers are those that the distribution is built with, by their names without
// underscores, as their modules have them.
func receivers(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(distribution)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)/receiver/([a-z0-9]+)receiver(?: v\S+)?$`).FindAllStringSubmatch(string(text), -1) {
		all[match[1]] = true
	}
	if !all["nginx"] || !all["cgroup"] || all["redis"] {
		t.Errorf("receivers of the distribution: %v", all)
	}
	return all
}
