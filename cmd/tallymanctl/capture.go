package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tallymanhq/tallyman/internal/doctor"
	"github.com/tallymanhq/tallyman/internal/recorder/capture"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
)

const captureHelp = `Captures are what the flight recorder has kept of the minutes around an incident:
one file each, *.tmcap, which can be copied to another host and opened there.
A file is a zip: report.html in it reads by itself.

A CAPTURE is the path of a file, or an id as ls shows it.`

// captureFlags are the flags that all commands about captures have.
type captureFlags struct{ dir string }

func newCapture() *cobra.Command {
	var f captureFlags
	cmd := &cobra.Command{
		Use:   "capture",
		Short: "Look at what the flight recorder has kept, and keep more",
		Long:  captureHelp,
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	defaults := doctor.FromEnv(os.Getenv)
	cmd.PersistentFlags().StringVar(&f.dir, "dir", filepath.Join(defaults.StateDir, "recorder", "captures"),
		"where the agent keeps captures (below $TALLYMAN_STATE)")
	cmd.AddCommand(newCaptureList(&f), newCaptureShow(&f), newCaptureOpen(&f), newCaptureNow(), newCaptureExport(&f), newCaptureRedact(&f))
	return cmd
}

func newCaptureList(f *captureFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the captures on this host, the newest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			items, err := capture.NewShelf(f.dir, capture.Keep{}).List()
			if err != nil {
				return outcome{err}
			}
			if err := printList(cmd.OutOrStdout(), items); err != nil {
				return outcome{fmt.Errorf("print list: %w", err)}
			}
			return nil
		},
	}
}

func printList(w io.Writer, items []capture.Item) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tSIZE\tKEPT\tVERDICT")
	for _, item := range items {
		kept := ""
		if item.Pinned {
			kept = "pinned"
		}
		verdict := "cannot be read"
		switch {
		case errors.Is(item.Err, bundle.ErrNewer):
			verdict = "written by a newer agent"
		case item.Manifest != nil:
			verdict = oneLine(item.Manifest.Verdict)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", oneLine(item.ID), fileSize(item.Size), kept, verdict)
	}
	return table.Flush()
}

// fileSize is in KB of 1000 bytes, as ls and file managers round.
func fileSize(n int64) string { return fmt.Sprintf("%d KB", (n+999)/1000) }

// oneLine keeps what a capture says from writing over the terminal: it may come
// from anywhere.
func oneLine(text string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c >= 0x7f && c < 0xa0 {
			return ' '
		}
		return c
	}, text)
}

// find returns the path of a capture that was named by path or id.
func (f *captureFlags) find(name string) (string, error) {
	if _, err := os.Stat(name); err == nil || strings.ContainsRune(name, filepath.Separator) {
		return name, nil
	}
	return capture.NewShelf(f.dir, capture.Keep{}).Path(strings.TrimSuffix(name, bundle.Suffix))
}

// open opens the capture that was named.
func (f *captureFlags) open(name string) (*bundle.Reader, error) {
	path, err := f.find(name)
	if err != nil {
		return nil, err
	}
	return bundle.Open(path)
}

func newCaptureShow(f *captureFlags) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show CAPTURE",
		Short: "Say what a capture is about, and check that it is whole",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := f.open(args[0])
			if err != nil {
				return outcome{err}
			}
			err = errors.Join(r.Verify(), showCapture(cmd.OutOrStdout(), r.Manifest, asJSON), r.Close())
			if err != nil {
				return outcome{err}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the manifest as JSON")
	return cmd
}

func showCapture(w io.Writer, m *bundle.Manifest, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(m)
	}
	const clock = "2006-01-02 15:04:05"
	var b strings.Builder
	line := func(format string, args ...any) { b.WriteString(oneLine(fmt.Sprintf(format, args...)) + "\n") }
	line("%s", m.Verdict)
	line("Host %s, from %s to %s UTC, format %d.", m.Host.Name, m.Window.From.UTC().Format(clock), m.Window.To.UTC().Format(clock), m.Format)
	for _, t := range m.Triggers {
		line("  %s  %-10s %s  %s", t.At.UTC().Format(clock), t.Kind, t.Container.Label(), t.Reason)
	}
	line("Containers: %s", containersOf(m.Scope))
	for _, file := range m.Files {
		line("  %10d  %s", file.Size, file.Name)
	}
	for _, gap := range m.Gaps {
		line("Gap from %s to %s: %s", gap.From.UTC().Format(clock), gap.To.UTC().Format(clock), gap.Why)
	}
	for reason, n := range m.Drops {
		line("Dropped: %d, %s", n, reason)
	}
	for _, missing := range m.Missing {
		line("Missing: %s: %s", missing.What, missing.Why)
	}
	for _, r := range m.Redactions {
		line("Masked in %s: %d (%s)", r.Where, r.Count, r.What)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func containersOf(s bundle.Scope) string {
	if s.Host {
		return "all of the host"
	}
	return fmt.Sprintf("%d", len(s.Containers))
}
