package project

import (
	"fmt"
	"slices"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// Options are the rules of one client profile. Patterns are names in which each
// * stands for any characters, also none. A nil list means the default, an
// empty one means none.
type Options struct {
	// EnvAllow names the environment variables whose values are kept.
	EnvAllow []string
	// LabelAllow names the labels that are kept whatever their value is.
	LabelAllow []string
	// LabelDeny names the labels that are left out unless LabelAllow names them.
	// Case does not matter here. Others are kept if they look harmless.
	LabelDeny []string
	// KeepGraphDriver keeps GraphDriver of containers, the directories of their
	// layers on the host. cAdvisor needs it.
	KeepGraphDriver bool
	// Sizes keeps SizeRw and SizeRootFs of containers.
	Sizes bool
	// Swarm keeps events about services, nodes, secrets and configs, and what
	// Info says of the swarm.
	Swarm bool
}

// DefaultEnvAllow returns the variables that tell what a container belongs to.
func DefaultEnvAllow() []string {
	return []string{
		"DD_ENV", "DD_SERVICE", "DD_VERSION",
		"OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES",
		"MESOS_TASK_ID", "MARATHON_APP_ID",
		"NOMAD_TASK_NAME", "NOMAD_JOB_NAME", "NOMAD_GROUP_NAME", "NOMAD_NAMESPACE", "NOMAD_DC",
		"ECS_CONTAINER_METADATA_URI", "ECS_CONTAINER_METADATA_URI_V4",
		"KUBERNETES_SERVICE_HOST",
	}
}

// DefaultLabelAllow returns the labels that orchestrators and monitoring set.
func DefaultLabelAllow() []string {
	return []string{
		"com.docker.compose.project", "com.docker.compose.service",
		"com.docker.compose.container-number", "com.docker.compose.oneoff",
		"com.docker.stack.*",
		"com.docker.swarm.service.*", "com.docker.swarm.task.*", "com.docker.swarm.node.*",
		"io.kubernetes.*",
		"com.amazonaws.ecs.*",
		"org.opencontainers.image.title", "org.opencontainers.image.version",
		"org.opencontainers.image.revision", "org.opencontainers.image.source",
		"org.opencontainers.image.vendor",
		"com.datadoghq.ad.*", "com.datadoghq.tags.*",
		"maintainer",
	}
}

// DefaultLabelDeny returns the labels whose names tell of secrets, and those
// that hold paths of the host.
func DefaultLabelDeny() []string {
	return []string{
		"*secret*", "*password*", "*token*", "*credential*", "*apikey*", "*basicauth.users*",
		"com.docker.compose.project.working_dir", "com.docker.compose.project.config_files",
		"com.docker.compose.project.environment_file",
	}
}

// Rules are compiled options. They do not change and may be used by any number
// of goroutines.
type Rules struct {
	envAllow   patterns
	labelAllow patterns
	labelDeny  patterns
	swarm      bool

	tables map[Kind]*node
	fields []string // names of the redaction counters

	passes sync.Pool // of *pass: buffers are the whole cost of a small answer
}

// Compile checks the options and joins them with the tables. The error names
// the option, in the spelling of the configuration, and the entry.
func Compile(options Options) (*Rules, error) {
	r := &Rules{swarm: options.Swarm}
	for _, list := range []struct {
		name     string
		given    []string
		standard func() []string
		fold     bool
		compiled *patterns
	}{
		{"env_allow", options.EnvAllow, DefaultEnvAllow, false, &r.envAllow},
		{"label_allow", options.LabelAllow, DefaultLabelAllow, false, &r.labelAllow},
		{"label_deny", options.LabelDeny, DefaultLabelDeny, true, &r.labelDeny},
	} {
		if list.given == nil {
			list.given = list.standard()
		}
		compiled, err := compilePatterns(list.given, list.fold)
		if err != nil {
			return nil, fmt.Errorf("compile %s%w", list.name, err)
		}
		*list.compiled = compiled
	}
	return r, r.load(map[string]bool{
		"graphdriver": options.KeepGraphDriver, "sizes": options.Sizes, "swarm": options.Swarm,
	})
}

func (r *Rules) load(options map[string]bool) error {
	loaded, err := loadTables(tablesText, options)
	if err != nil {
		return fmt.Errorf("load field tables: %w", err)
	}
	r.fields = loaded.fields
	r.tables = map[Kind]*node{}
	for _, kind := range Kinds() {
		table := loaded.tables[string(kind)]
		if table == nil {
			return fmt.Errorf("load field tables: %s: %w", kind, errNoTable)
		}
		r.tables[kind] = table
	}
	return nil
}

// Fields returns the names that Stats.Redacted may hold, sorted.
func (r *Rules) Fields() []string {
	return slices.Sorted(slices.Values(r.fields))
}

func (r *Rules) borrow() *pass {
	if p, ok := r.passes.Get().(*pass); ok {
		return p
	}
	p := &pass{rules: r, counts: make([]int, len(r.fields))}
	p.dec = jsontext.NewDecoder(&p.src)
	return p
}

// giveBack keeps the buffers unless one huge element has blown them up.
func (r *Rules) giveBack(p *pass) {
	if p.size > keepAtMost || cap(p.out) > keepAtMost || cap(p.text) > keepAtMost {
		return
	}
	// Nothing of the client may live on.
	p.view, p.dst = View{}, nil
	p.src.reset(nil)
	r.passes.Put(p)
}
