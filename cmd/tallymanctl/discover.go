package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/tallymanhq/tallyman/internal/discovery/configfile"
	"github.com/tallymanhq/tallyman/internal/discovery/plan"
	"github.com/tallymanhq/tallyman/internal/discovery/rules"
	"github.com/tallymanhq/tallyman/internal/discovery/settings"
	"github.com/tallymanhq/tallyman/internal/discovery/spec"
	"github.com/tallymanhq/tallyman/internal/docker"
	"github.com/tallymanhq/tallyman/internal/doctor"
)

const discoverHelp = `Looks at the containers of this host the way the agent's discovery receiver
does, and says of each what it was recognised as, which receivers would start,
by which rule or label and with which configuration, what is refused and why,
and what is waited for. Nothing is started and nothing is changed.

  tallymanctl discover
  tallymanctl discover --config agent.yaml --container web
  tallymanctl discover --config agent.yaml --receiver discovery/java --watch

Without --config there are no rules: labels and recognition speak alone. Several
--config are merged as the agent does it. In the config of rules ${env:X} and
${file:X} stay as they are written, and what looks like a secret is masked.

If tallyman lies beside tallymanctl, it is asked which receivers it has. Whether
their settings are right is seen only when the agent starts them.

Exit code: 0 if nothing is refused or broken, 1 if something is, 2 if the call
was wrong.`

// defaultTimeout is as long as an engine may hold back an answer (internal/docker).
const defaultTimeout = 10 * time.Second

// The forms of output.
const (
	outputText = "text"
	outputJSON = "json"
)

// discoverFlags are the flags of discover.
type discoverFlags struct {
	config                                      []string
	receiver, root, endpoint, container, output string
	watch                                       bool
	timeout                                     time.Duration
}

func newDiscover() *cobra.Command {
	var f discoverFlags
	cmd := &cobra.Command{
		Use:   "discover",
		Short: "Say which receivers would start for the containers of this host, and why",
		Long:  discoverHelp,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			return f.run(cmd)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.config, "config", nil, "file with the agent's configuration; again for more")
	flags.StringVar(&f.receiver, "receiver", "", "discovery/NAME, if the configuration has several")
	flags.StringVar(&f.root, "root", "", "where the host's root directory is (default: the configuration's, else $TALLYMAN_ROOT)")
	flags.StringVar(&f.endpoint, "endpoint", "", "address of the Docker engine (default: the configuration's, else $DOCKER_HOST)")
	flags.StringVar(&f.container, "container", "", "name of one container, or how its id begins")
	flags.StringVarP(&f.output, "output", "o", outputText, "text or json")
	flags.BoolVar(&f.watch, "watch", false, "go on and say what changes")
	flags.DurationVar(&f.timeout, "timeout", defaultTimeout, "how long to wait until all containers have been looked at")
	return cmd
}

var (
	errOutput   = errors.New("is neither text nor json")
	errReceiver = errors.New("--receiver names one of a configuration: give --config, too")
	errTimeout  = errors.New("is not more than nothing")
	errRoot     = errors.New("is not an absolute path")
)

// check finds what is wrong with the call.
func (f *discoverFlags) check() error {
	switch {
	case f.output != outputText && f.output != outputJSON:
		return fmt.Errorf("--output: %q %w", f.output, errOutput)
	case f.receiver != "" && len(f.config) == 0:
		return errReceiver
	case f.timeout <= 0:
		return fmt.Errorf("--timeout: %v %w", f.timeout, errTimeout)
	case f.root != "" && !filepath.IsAbs(f.root):
		return fmt.Errorf("--root: %q %w", f.root, errRoot)
	}
	if err := checkEngine(f.endpoint); err != nil {
		return fmt.Errorf("--endpoint: %w", err)
	}
	return nil
}

// checkEngine checks an engine's address as the agent does.
func checkEngine(endpoint string) error {
	if endpoint == "" || endpoint == settings.NoEngine {
		return nil
	}
	return docker.CheckEndpoint(endpoint)
}

// lookAt says where to look: the flags before the configuration, and that before what
// is usual.
func (f *discoverFlags) lookAt(file configfile.File, usual string) lookOptions {
	asked := cmp.Or(f.endpoint, file.Endpoint)
	if asked == settings.NoEngine {
		return lookOptions{root: file.RootPath}
	}
	return lookOptions{root: file.RootPath, endpoint: cmp.Or(asked, usual), isAsked: asked != ""}
}

func (f *discoverFlags) run(cmd *cobra.Command) error {
	d, err := f.dryRun(cmd.Context())
	if err != nil {
		return outcome{err}
	}
	seen, err := startSight(cmd.Context(), d.look)
	if err != nil {
		return outcome{err}
	}
	defer seen.close()
	return f.report(cmd, d, seen)
}

// report prints what there is, and with --watch what changes after that.
func (f *discoverFlags) report(cmd *cobra.Command, d *dryRun, seen *sight) error {
	out := d.judge(seen.settle(cmd.Context(), f.timeout))
	if f.container != "" && len(out.Containers) == 0 && !f.watch {
		return outcome{fmt.Errorf("find container: %w: %q", errNoContainer, f.container)}
	}
	p := printer{w: cmd.OutOrStdout(), isJSON: f.output == outputJSON, text: discoverText{colour: wantsColour(cmd.OutOrStdout(), os.Getenv("NO_COLOR"))}}
	err := p.first(out)
	for f.watch && err == nil && seen.next(cmd.Context()) {
		now := d.judge(seen.now())
		err = p.changes(out, now, time.Now())
		out = now
	}
	if err != nil {
		return outcome{fmt.Errorf("print report: %w", err)}
	}
	if out.Summary.Refused > 0 || out.broken {
		return errFailed
	}
	return nil
}

var errNoContainer = errors.New("no running container has this name, or an id that begins so")

// dryRun is everything that does not change while containers are looked at.
type dryRun struct {
	source    discoverSource
	file      configfile.File
	plan      *plan.Plan
	rules     *rules.Set
	available configfile.Available // nil if no agent was asked
	look      lookOptions
	agent     string // the one that was asked
	problems  []string
	notes     []string
	container string
	uid       int // of this process
}

// dryRun reads the configuration and asks the agent for its receivers.
func (f *discoverFlags) dryRun(ctx context.Context) (*dryRun, error) {
	d := &dryRun{file: configfile.File{Settings: settings.Default()}, container: f.container, uid: os.Geteuid()}
	d.file.Receiver = settings.Type
	defaults := doctor.FromEnv(os.Getenv)
	d.file.RootPath = defaults.Roots.Root
	if len(f.config) > 0 {
		var err error
		if d.file, err = configfile.Load(configfile.Options{Paths: f.config, Receiver: f.receiver}); err != nil {
			return nil, err
		}
	}
	d.file.RootPath = cmp.Or(f.root, d.file.RootPath)
	err := d.file.Check()
	if err == nil {
		d.plan, err = plan.New(d.file.Config)
	}
	if err == nil {
		d.rules, err = rules.Compile(d.file.Rules)
	}
	if err != nil {
		return nil, fmt.Errorf("receivers::%s: %w", d.file.Receiver, err)
	}
	d.look = f.lookAt(d.file, defaults.DockerHost)
	d.ask(ctx)
	d.describe(f.config)
	return d, nil
}

// describe notes what can be said before any container is seen.
func (d *dryRun) describe(paths []string) {
	d.source = describeSource(paths, d.file)
	d.source.Agent = d.agent
	for _, name := range d.file.Unset {
		d.note("The variable %s is not set here and counts as empty; the agent may have it.", name)
	}
	if d.file.Served && d.file.Pipelines == 0 {
		d.note("%s is in no pipeline of metrics or logs, so that the agent does not start it.", d.file.Receiver)
	}
	if d.available == nil {
		return
	}
	for _, err := range settings.CheckRules(d.file.Rules, d.available, d.pipelines()) {
		d.problem(err)
	}
}

// pipelines are those that discovery is in; a file without any is only a part.
func (d *dryRun) pipelines() spec.Signals {
	if d.file.Served {
		return d.file.Pipelines
	}
	return spec.All
}

// problem notes what keeps the agent from starting.
func (d *dryRun) problem(err error) {
	d.problems = append(d.problems, fmt.Sprintf("receivers::%s: %v", d.file.Receiver, err))
}

func (d *dryRun) note(format string, args ...any) {
	d.notes = append(d.notes, fmt.Sprintf(format, args...))
}

// agentName is the agent's binary, which scripts/build.sh puts beside this one.
const agentName = "tallyman"

// ask asks the agent beside this program which receivers it has.
func (d *dryRun) ask(ctx context.Context) {
	self, err := os.Executable()
	if err != nil {
		d.note("Whether the agent has these receivers is not known: %v.", err)
		return
	}
	agent := filepath.Join(filepath.Dir(self), agentName)
	if _, err := os.Stat(agent); err != nil {
		d.note("Whether the agent has these receivers is not known: %s is not there to be asked.", agent)
		return
	}
	if d.available, err = configfile.Receivers(ctx, agent); err != nil {
		d.note("Whether the agent has these receivers is not known: %v.", err)
		return
	}
	d.agent = agent
}

// unmatched are the rules that fit nothing, in their order.
func (d *dryRun) unmatched(matched map[string]bool) []string {
	return slices.DeleteFunc(d.rules.Names(), func(name string) bool { return matched[name] })
}
