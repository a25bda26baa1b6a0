package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tallymanhq/tallyman/internal/doctor"
	"github.com/tallymanhq/tallyman/internal/hostfs"
)

const doctorHelp = `Looks at what this host lets the agent do, and says for everything that is
not as it should be what it means for what the agent shows, and what to do.

BPF programs are loaded, attached and taken off again, and a network namespace
is made and ends; nothing else is tried out, and nothing is changed.

The answers are about the process that asks. Run it the way the agent runs: as
the same user, in the same container, with the same limits. In the image:

  docker run --rm --pid host -v /:/hostfs:ro -e TALLYMAN_ROOT=/hostfs \
    --entrypoint /tallymanctl tallyman:dev doctor

Words: ok; WARN, the agent works and shows less; FAIL, a part of it does not
work; ?, it could not be found out.

Exit code: 0 if nothing failed (there may be warnings), 1 if at least one check
failed or the output could not be written, 2 if the call was wrong.`

// doctorFlags are the flags of doctor.
type doctorFlags struct {
	rootPath, dockerHost, stateDir, statsdDir string
	dockerRoot, podsRoot                      string // by their variables only
	json, verbose                             bool
}

func newDoctor() *cobra.Command {
	defaults := doctor.FromEnv(os.Getenv)
	f := doctorFlags{dockerRoot: defaults.DockerRoot, podsRoot: defaults.PodsRoot}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this host lets the agent do, and what to do about the rest",
		Long:  doctorHelp,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !filepath.IsAbs(f.rootPath) {
				return fmt.Errorf("--root-path: %q is not an absolute path", f.rootPath)
			}
			return f.run(cmd)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.rootPath, "root-path", defaults.Roots.Root, "where the host's root directory is ($TALLYMAN_ROOT)")
	flags.StringVar(&f.dockerHost, "docker-host", defaults.DockerHost, "address of the Docker engine ($DOCKER_HOST)")
	flags.StringVar(&f.stateDir, "state-dir", defaults.StateDir, "where the agent keeps its files ($TALLYMAN_STATE)")
	flags.StringVar(&f.statsdDir, "statsd-dir", defaults.StatsdDir, "where the agent's socket for custom metrics is ($TALLYMAN_STATSD_DIR)")
	flags.BoolVar(&f.json, "json", false, "print JSON")
	flags.BoolVar(&f.verbose, "verbose", false, "say of passed checks too what they mean")
	return cmd
}

// doctorOutput is what --json prints.
type doctorOutput struct {
	Version string      `json:"version"`
	Host    doctor.Host `json:"host"`
	doctor.Report
}

func (f doctorFlags) run(cmd *cobra.Command) error {
	options := doctor.Options{
		Roots: hostfs.NewRoots(f.rootPath), DockerHost: f.dockerHost, StateDir: f.stateDir, StatsdDir: f.statsdDir,
		DockerRoot: f.dockerRoot, PodsRoot: f.podsRoot,
	}
	host, err := options.Describe()
	if err != nil {
		return outcome{err}
	}
	out := doctorOutput{Version: version, Host: host, Report: doctor.Run(cmd.Context(), doctor.Checks(options))}
	if err := f.print(cmd.OutOrStdout(), out); err != nil {
		return outcome{fmt.Errorf("print report: %w", err)}
	}
	if out.Summary.Fail > 0 {
		return errFailed
	}
	return nil
}

func (f doctorFlags) print(w io.Writer, out doctorOutput) error {
	if f.json {
		encoder := json.NewEncoder(w)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		return encoder.Encode(out)
	}
	text := doctorText{verbose: f.verbose, colour: wantsColour(w, os.Getenv("NO_COLOR"))}
	_, err := io.WriteString(w, text.render(out))
	return err
}

// wantsColour is true on a terminal, unless the user has said otherwise
// (no-color.org: any text but the empty one).
func wantsColour(w io.Writer, noColour string) bool {
	file, ok := w.(*os.File)
	if !ok || noColour != "" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
