package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by scripts/build.sh.
var version = "unknown"

// The exit codes of all commands.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	// SIGHUP too: an opened capture is unpacked until its command ends, also when its
	// terminal is closed.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// errFailed ends a command that has already said why it failed.
var errFailed = errors.New("the command found a failure")

// outcome is an error of a command that was called as it should be. All others
// are cobra's, about the call.
type outcome struct{ error }

// Unwrap makes the error testable.
func (o outcome) Unwrap() error { return o.error }

// run calls a command and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var done outcome
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errFailed):
		return exitFailed
	case errors.As(err, &done):
		fmt.Fprintln(stderr, "tallymanctl:", err)
		return exitFailed
	}
	fmt.Fprintf(stderr, "tallymanctl: %v\nSee tallymanctl --help, or --help after a command.\n", err)
	return exitUsage
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:               "tallymanctl",
		Short:             "The tool beside the Tallyman agent",
		Version:           version,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.AddCommand(newDoctor(), newCapture(), newDiscover(), newHealth(), newToken())
	return root
}
