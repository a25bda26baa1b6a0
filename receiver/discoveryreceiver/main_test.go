package discoveryreceiver

import (
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
)

// serveEnv makes the test's binary an application instead: it serves what nginx and
// Prometheus ask for at this address, until it is killed. A copy of it under another
// name is another program.
const serveEnv = "TALLYMAN_DISCOVERY_SERVE"

// serveIfAsked is called by the generated TestMain.
func serveIfAsked() {
	if at := os.Getenv(serveEnv); at != "" {
		fmt.Fprintln(os.Stderr, serve(at))
		os.Exit(1)
	}
}

// serve is an application with a page for each of the two receivers. The text is that
// of ngx_http_stub_status_module.
func serve(at string) error {
	var asked atomic.Int64
	http.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprintf(w, "# TYPE app_requests counter\napp_requests_total %d\n", asked.Add(1))
	})
	http.HandleFunc("/nginx_status", func(w http.ResponseWriter, _ *http.Request) {
		n := asked.Add(1)
		fmt.Fprintf(w, "Active connections: 1 \nserver accepts handled requests\n %d %d %d \nReading: 0 Writing: 1 Waiting: 0 \n", n, n, n)
	})
	return http.ListenAndServe(at, nil)
}
