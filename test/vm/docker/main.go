package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/tallymanhq/tallyman/test/vm/machine"
)

const (
	// guestPackage has the tests that run in the guest.
	guestPackage = "test/vm/docker/guest"
	// testTimeout bounds the test binary, so that a hanging test prints its goroutines before the deadline takes the
	// machine away.
	testTimeout = 20 * time.Minute
	// memory of the guest (MiB): the page cache for the image, a Docker engine, the agent, containers.
	memory = 2048
	// consoleTail is how many lines of the console are printed when a run did not pass: all of them in most cases. With
	// four tests failing and the logs of run.sh it was 260.
	consoleTail = 300
)

// options are the command line.
type options struct {
	kernel   machine.Kernel
	deadline time.Duration // for the machine alone
	verbose  bool          // show the whole console, with boot messages
	run      string        // tests to run, as go test takes it
}

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
		fmt.Fprintf(os.Stderr, "docker vm: %v\n", err)
		stop()
		os.Exit(1)
	}
}

func parseOptions(args []string) (options, error) {
	var opts options
	fs := flag.NewFlagSet("docker", flag.ContinueOnError)
	kernelName := fs.String("kernel", "6.1", "kernel to boot, a row of test/vm/machine/kernels.go")
	fs.DurationVar(&opts.deadline, "deadline", 25*time.Minute, "time the machine may run")
	fs.BoolVar(&opts.verbose, "v", false, "show the whole console, with boot messages")
	fs.StringVar(&opts.run, "run", ".", "run only the guest's tests that match this expression")
	err := fs.Parse(args)
	if err != nil {
		return options{}, err
	}
	if fs.NArg() > 0 {
		return options{}, fmt.Errorf("read arguments: %w: %q", errArguments, fs.Args())
	}
	opts.kernel, err = machine.FindKernel(*kernelName)
	return opts, err
}

var errArguments = errors.New("takes flags only")

// run does the phases, prints how long each took, and returns why the run does not count as passed.
func run(ctx context.Context, opts options, out io.Writer) error {
	root, err := machine.RepositoryRoot(ctx)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "tallyman-vm-docker-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)

	clock := machine.StartPhases()
	m, err := prepare(ctx, opts, setting{root: root, cache: machine.CacheFolder(root), work: work, clock: clock})
	if err != nil {
		return err
	}
	con, err := openConsole(filepath.Join(machine.CacheFolder(root), "docker-console.txt"), out, opts.verbose)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "machine: Linux %s; console in %s\n", opts.kernel.Name, con.name)
	rep, err := m.Boot(ctx, opts.deadline, con)
	clock.Done("machine")
	err = errors.Join(err, rep.Verdict([]string{guestPackage}), con.Close())
	if err != nil && !opts.verbose {
		err = errors.Join(err, con.printTail(consoleTail))
	}
	fmt.Fprintf(out, "\nwall time: %s\n", clock)
	rep.Summarize(out)
	return err
}

// setting is where a run happens.
type setting struct {
	root, cache, work string // folders: repository, kept between runs, of this run
	clock             *machine.Phases
}

// prepare makes everything the machine needs.
func prepare(ctx context.Context, opts options, s setting) (machine.Machine, error) {
	img, err := machine.FetchKernel(ctx, opts.kernel, s.cache)
	s.clock.Done("kernel")
	if err != nil {
		return machine.Machine{}, err
	}
	system, err := bookworm(opts.kernel, img).image(ctx, s.cache)
	s.clock.Done("system disk")
	if err != nil {
		return machine.Machine{}, err
	}
	// The script knows what is stale, and how to build.
	err = machine.Command(ctx, s.root, filepath.Join(s.root, "scripts", "build.sh"))
	s.clock.Done("agent")
	if err != nil {
		return machine.Machine{}, err
	}
	disk, err := payload{root: s.root, work: s.work, run: opts.run}.make(ctx)
	s.clock.Done("tests")
	if err != nil {
		return machine.Machine{}, err
	}
	return machine.Machine{
		Vmlinuz: img.Vmlinuz,
		Memory:  memory,
		Disks:   []machine.Disk{{File: system, Lost: true}, {File: disk}},
		Words:   kernelWords(opts.verbose),
		Verbose: opts.verbose,
	}, nil
}

// kernelWords tell the kernel where its root is and systemd what to print: what goes wrong, or all of it. Which cgroups
// there are is left to systemd, as on every Debian.
func kernelWords(verbose bool) []string {
	words := []string{"root=/dev/nvme0n1", "rw"}
	if verbose {
		return append(words, "systemd.show_status=1")
	}
	return append(words, "systemd.show_status=error")
}
