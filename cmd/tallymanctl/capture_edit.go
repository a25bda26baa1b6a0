package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
)

const captureExportHelp = `Unpacks a capture into a new directory and checks every file of it.

metrics/ then holds a block of the Prometheus TSDB, which promtool and a
Prometheus with that storage path read; events/ holds OTLP log records in
frames; state/ and the rest are JSON and text.`

func newCaptureExport(f *captureFlags) *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use:   "export CAPTURE",
		Short: "Unpack a capture into a directory",
		Long:  captureExportHelp,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := f.open(args[0])
			if err != nil {
				return outcome{err}
			}
			if to == "" {
				to = r.Manifest.ID
			}
			if err = errors.Join(exportCapture(r, to), r.Close()); err != nil {
				return outcome{err}
			}
			fmt.Fprintln(cmd.OutOrStdout(), to)
			return nil
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "the directory; must not be there (default: the id, in the current directory)")
	return cmd
}

func exportCapture(r *bundle.Reader, to string) error {
	if err := os.Mkdir(to, 0o700); err != nil {
		return fmt.Errorf("export capture: %w", err)
	}
	return r.Extract(to, nil)
}

const captureRedactHelp = `Writes a capture once more with what looks like a secret masked in its text: a
second pass with the rules of this program, which may be newer than the agent's.
The report is left out, and the manifest says what was taken out.

Events are log records as the applications wrote them, and no rule knows their
secrets: --without-events leaves them out. Labels of metrics stay.`

func newCaptureRedact(f *captureFlags) *cobra.Command {
	var o bundle.RedactOptions
	cmd := &cobra.Command{
		Use:   "redact CAPTURE",
		Short: "Mask what looks like a secret, before a capture is given away",
		Long:  captureRedactHelp,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := f.find(args[0])
			if err != nil {
				return outcome{err}
			}
			o.From = path
			if o.To == "" {
				o.To = strings.TrimSuffix(path, bundle.Suffix) + "-redacted" + bundle.Suffix
			}
			m, err := bundle.Redact(o)
			if err != nil {
				return outcome{err}
			}
			taken := 0
			for _, r := range m.Redactions {
				taken += r.Count
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s\n%d masked in all; see show.\n", o.To, taken)
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.To, "out", "", "the new file (default: beside the old one, with -redacted)")
	flags.BoolVar(&o.WithoutEvents, "without-events", false, "leave log records and events out")
	flags.BoolVar(&o.WithoutArguments, "without-arguments", false, "leave the arguments of processes out")
	return cmd
}
