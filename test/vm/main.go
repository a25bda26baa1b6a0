package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"syscall"
	"time"

	"github.com/tallymanhq/tallyman/test/vm/machine"
)

// testTimeout bounds one test binary, so that a hanging test prints its goroutines before the deadline of the whole
// run takes the machine away.
const testTimeout = 5 * time.Minute

// options are the command line.
type options struct {
	suite    suite
	kernel   machine.Kernel
	deadline time.Duration // for the machine alone, not for download and build
	verbose  bool          // show the kernel's boot messages
}

// exitAbsent tells scripts apart that a host's apt does not have the kernel from tests that did not pass.
const exitAbsent = 4

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	opts, err := parseOptions(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = run(ctx, opts, os.Stdout)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "vm: %v\n", err)
		stop()
		if errors.Is(err, machine.ErrKernelAbsent) {
			os.Exit(exitAbsent)
		}
		os.Exit(1)
	}
}

func parseOptions(args []string) (options, error) {
	var opts options
	fs := flag.NewFlagSet("vm", flag.ContinueOnError)
	suiteName := fs.String("suite", "cgroup", "suite to run, a row of tables.go")
	kernelName := fs.String("kernel", "6.1", "kernel to boot, a row of machine/kernels.go")
	fs.DurationVar(&opts.deadline, "deadline", 10*time.Minute, "time the machine may run")
	runTests := fs.String("run", "", "tests to run, as go test -run has it, without spaces")
	fs.BoolVar(&opts.verbose, "v", false, "show the kernel's boot messages")
	fs.Usage = func() {
		fmt.Fprintln(fs.Output(), "usage: go run ./test/vm [flags] [package folder instead of the suite's ...]")
		fs.PrintDefaults()
	}
	err := fs.Parse(args)
	if err != nil {
		return options{}, err
	}
	opts.suite, err = findSuite(*suiteName)
	if err != nil {
		return options{}, err
	}
	opts.suite.Run = *runTests
	if fs.NArg() > 0 {
		opts.suite.Packages = packageNames(fs.Args())
	}
	opts.kernel, err = machine.FindKernel(*kernelName)
	return opts, err
}

// packageNames lets arguments be written as the go command likes them, such as ./internal/cgroup/.
func packageNames(args []string) []string {
	var names []string
	for _, arg := range args {
		names = append(names, path.Clean(arg))
	}
	return names
}

// run does the four phases, prints how long each took, and returns why the run does not count as passed.
func run(ctx context.Context, opts options, out io.Writer) error {
	root, err := machine.RepositoryRoot(ctx)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "tallyman-vm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)

	clock := machine.StartPhases()
	img, err := machine.FetchKernel(ctx, opts.kernel, machine.CacheFolder(root))
	clock.Done("kernel")
	if err != nil {
		return err
	}
	tree := guestTree{root: root, dir: filepath.Join(work, "tree")}
	err = tree.build(ctx, opts.suite)
	clock.Done("build")
	if err != nil {
		return err
	}
	m, err := tree.machine(ctx, img, work)
	clock.Done("pack")
	if err != nil {
		return err
	}
	m.Verbose = opts.verbose
	rep, err := m.Boot(ctx, opts.deadline, out)
	clock.Done("machine")
	err = errors.Join(err, rep.Verdict(opts.suite.Packages))
	fmt.Fprintf(out, "\nwall time: %s\n", clock)
	rep.Summarize(out)
	return err
}
