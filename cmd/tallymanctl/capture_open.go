package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/tallymanhq/tallyman/internal/recorder/api"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/serve"
	"github.com/tallymanhq/tallyman/internal/recorder/web"
)

const captureOpenHelp = `Unpacks a capture into a temporary directory and shows it in the browser, with the
pages of the agent, until interrupted. The clock stands at the end of the capture.

The address is a Prometheus data source as well. Nobody but this host can reach it,
and nothing can be changed.`

func newCaptureOpen(f *captureFlags) *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "open CAPTURE",
		Short: "Show a capture in the browser, until interrupted",
		Long:  captureOpenHelp,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkLoopback(listen); err != nil {
				return err
			}
			path, err := f.find(args[0])
			if err != nil {
				return outcome{err}
			}
			v := captureView{path: path, listen: listen, out: cmd.OutOrStdout()}
			if err := v.show(cmd.Context()); err != nil {
				return outcome{err}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "where to serve; port 0 takes a free one")
	return cmd
}

// checkLoopback refuses addresses that others can reach: there is no password.
func checkLoopback(listen string) error {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("--listen: %q is not an address of this host alone (take 127.0.0.1 and a tunnel)", host)
	}
	return nil
}

// captureView is a capture on its way to be shown.
type captureView struct {
	path string
	// listen is where to serve; out gets the address.
	listen string
	out    io.Writer
}

// show unpacks the capture, which also checks it, and serves it until the context
// ends.
func (v captureView) show(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "tallyman-capture-")
	if err != nil {
		return fmt.Errorf("unpack capture: %w", err)
	}
	manifest, size, err := v.unpack(dir)
	if err == nil {
		err = v.open(ctx, dir, manifest, size)
	}
	return errors.Join(err, os.RemoveAll(dir))
}

// unpack returns the manifest and the size of the file in bytes.
func (v captureView) unpack(dir string) (*bundle.Manifest, int64, error) {
	info, err := os.Stat(v.path)
	if err != nil {
		return nil, 0, fmt.Errorf("unpack capture: %w", err)
	}
	r, err := bundle.Open(v.path)
	if err != nil {
		return nil, 0, err
	}
	return r.Manifest, info.Size(), errors.Join(r.Extract(dir, nil), r.Close())
}

func (v captureView) open(ctx context.Context, dir string, m *bundle.Manifest, size int64) error {
	view, err := web.New()
	if err != nil {
		return err
	}
	opened, err := serve.OpenCapture(dir, m)
	if err != nil {
		return err
	}
	o := opened.Options
	o.Opened.Bytes, o.Endpoints, o.Web = size, []string{v.listen}, withReport(dir, view)
	return errors.Join(v.serve(ctx, o), opened.Close())
}

// endWithin bounds how long answers that are under way may take in the end.
const endWithin = 5 * time.Second

// serve serves until the context ends.
func (v captureView) serve(ctx context.Context, o api.Options) error {
	server, err := api.New(o)
	if err != nil {
		return err
	}
	if err := server.Start(ctx); err != nil {
		return errors.Join(err, server.Shutdown(context.WithoutCancel(ctx)))
	}
	fmt.Fprintf(v.out, "%s\n", oneLine(o.Opened.Verdict))
	for _, message := range o.Agent.Status().Messages {
		fmt.Fprintf(v.out, "%s\n", oneLine(message))
	}
	fmt.Fprintf(v.out, "%s/\n", server.Addresses()[0])
	<-ctx.Done()
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
	defer cancel()
	return server.Shutdown(ending)
}

// reportPath is where the report of an opened capture is.
const reportPath = "/files/" + bundle.ReportName

// reportPolicy lets the report run what stands in it, as an origin of its own: the
// capture may come from anywhere, and must not ask the API in the name of the page.
const reportPolicy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; sandbox allow-scripts"

// withReport adds the report of an unpacked capture to the web view.
func withReport(dir string, view http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", view)
	mux.HandleFunc("GET "+reportPath, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", reportPolicy)
		// Browsers show no page that is in a sandbox and isolated from its opener.
		w.Header().Set("Cross-Origin-Opener-Policy", "unsafe-none")
		http.ServeFile(w, r, filepath.Join(dir, bundle.ReportName))
	})
	return mux
}
