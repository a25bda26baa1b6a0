package tags

import (
	"fmt"
	"strings"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
)

// origin is where an attribute comes from: how, and how to say it.
type origin struct {
	text      string
	get       func(*input) string
	list      func(*input) []string // in place of get, for arrays
	owner     func(entity.Owners) string
	variables []string // that it reads
}

func fact(text string, get func(*input) string) origin { return origin{text: text, get: get} }

func facts(text string, list func(*input) []string) origin { return origin{text: text, list: list} }

func label(key string) origin { return keyed("label", labels, key) }

func podLabel(key string) origin { return keyed("pod label", podLabels, key) }

func annotation(key string) origin { return keyed("annotation", annotations, key) }

func variable(name string) origin {
	o := keyed("variable", env, name)
	o.variables = []string{name}
	return o
}

func keyed(what string, kind int, key string) origin {
	return fact(what+" `"+key+"`", func(in *input) string { return in.get(kind, key) })
}

// resource is an entry of OTEL_RESOURCE_ATTRIBUTES.
func resource(key string) origin {
	o := fact("`"+key+"` in variable `"+resourceVariable+"`", func(in *input) string { return in.resource[key] })
	o.variables = []string{resourceVariable}
	return o
}

// owner is the name of the pod's owner of a kind.
func owner(kind string) origin {
	name := ownerName(kind)
	o := fact("pod's owner, "+kind, func(in *input) string { return name(in.pod.Owners) })
	o.owner = name
	return o
}

func ownerName(kind string) func(entity.Owners) string {
	switch kind {
	case "Deployment":
		return func(o entity.Owners) string { return o.Deployment }
	case "ReplicaSet":
		return func(o entity.Owners) string { return o.ReplicaSet }
	case "StatefulSet":
		return func(o entity.Owners) string { return o.StatefulSet }
	case "DaemonSet":
		return func(o entity.Owners) string { return o.DaemonSet }
	case "CronJob":
		return func(o entity.Owners) string { return o.CronJob }
	}
	return func(o entity.Owners) string { return o.Job }
}

// only gives an owner's name under a condition.
func (o origin) only(text string, when func(entity.Owners) bool) origin {
	name := o.owner
	o.text += " " + text
	o.get = func(in *input) string {
		if !when(in.pod.Owners) {
			return ""
		}
		return name(in.pod.Owners)
	}
	return o
}

// via reads the same origin in another way.
func (o origin) via(get func(*input) string) origin {
	o.get = get
	return o
}

// Row is a line of the table.
type Row struct {
	// Attribute is its key. Some have a part in angle brackets.
	Attribute string
	Level     Level
	// From lists where it comes from, the first first.
	From []string
}

// Table returns what attributes there are, the most important first. k8s.job.name
// is there twice, with different levels.
func Table() []Row {
	rows := make([]Row, 0, len(table))
	for _, r := range table {
		out := Row{Attribute: r.key, Level: r.level}
		if r.note != "" {
			out.From = append(out.From, r.note)
		}
		for _, o := range r.from {
			if len(out.From) == 0 || out.From[len(out.From)-1] != o.text {
				out.From = append(out.From, o.text)
			}
		}
		rows = append(rows, out)
	}
	return rows
}

// Markdown returns the table as documents show it.
func Markdown() string {
	var text strings.Builder
	text.WriteString("| attribute | level | from (the first that is there) |\n|---|---|---|\n")
	for _, r := range Table() {
		name := "`" + r.Attribute + "`"
		if strings.HasPrefix(r.Attribute, "<") {
			name = `\` + r.Attribute
		}
		fmt.Fprintf(&text, "| %s | %s | %s |\n", name, r.Level, strings.Join(r.From, "; "))
	}
	return text.String()
}
