package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

const (
	// fullShare, in percent, leaves a quarter of what is in the table as room for a
	// burst.
	fullShare = 80
	// countFile has the entries of the namespace of process 1, which everybody may
	// read (CONFIG_NF_CONNTRACK_PROCFS); limitFile is for each namespace alike.
	countFile = "1/net/stat/nf_conntrack"
	limitFile = "sys/net/netfilter/nf_conntrack_max"
	// ownCountFile is of the namespace of who reads it.
	ownCountFile = "sys/net/netfilter/nf_conntrack_count"
)

// conntrackTable is how full the host's table of connections is.
type conntrackTable struct {
	count, limit uint64 // entries; limit 0 is none
}

func (c *connections) checkTable(context.Context) Result {
	t, err := readConntrackTable(c.roots)
	switch {
	case errors.Is(err, hostfs.ErrGone):
		return Result{
			Status: Pass, Found: "conntrack is not loaded",
			Meaning: "The host keeps no table of connections, and translates no addresses.",
		}
	case err != nil:
		r := undecided("not known", err)
		r.Remedy = "Run it in the host's network namespace, or compare sysctl net.netfilter.nf_conntrack_count and nf_conntrack_max there."
		return r
	}
	return t.judge()
}

// readConntrackTable gives [hostfs.ErrGone] where there is no conntrack.
func readConntrackTable(roots hostfs.Roots) (conntrackTable, error) {
	limit, err := readNumber(filepath.Join(roots.Proc, limitFile))
	if err != nil {
		return conntrackTable{}, err
	}
	count, err := readCount(roots)
	return conntrackTable{count: count, limit: limit}, err
}

func readCount(roots hostfs.Roots) (uint64, error) {
	path := filepath.Join(roots.Proc, countFile)
	b, err := hostfs.ReadFile(path, nil)
	if errors.Is(err, hostfs.ErrGone) {
		return readOwnCount(roots)
	}
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", path, err)
	}
	count, err := parseConntrackCount(b)
	if err != nil {
		return 0, fmt.Errorf("parse %s: %w", path, err)
	}
	return count, nil
}

var errElsewhere = errors.New("this process is in another network namespace")

// readOwnCount is for kernels without CONFIG_NF_CONNTRACK_PROCFS.
func readOwnCount(roots hostfs.Roots) (uint64, error) {
	path := filepath.Join(roots.Proc, ownCountFile)
	switch isHere, err := isAtHome(roots); {
	case err != nil:
		return 0, err
	case !isHere:
		return 0, fmt.Errorf("read %s: %w", path, errElsewhere)
	}
	return readNumber(path)
}

var errNoCount = errors.New("there is no line of a processor")

// parseConntrackCount reads the first column below the headings, which is the
// same in the line of each processor, in hexadecimal:
//
//	entries  clashres found new ...
//	00000013  00000000 00000000 00000000 ...
func parseConntrackCount(b []byte) (uint64, error) {
	_, lines, _ := bytes.Cut(b, []byte("\n"))
	line, _, _ := bytes.Cut(lines, []byte("\n"))
	columns := bytes.Fields(line)
	if len(columns) == 0 {
		return 0, errNoCount
	}
	count, err := strconv.ParseUint(string(columns[0]), 16, 32)
	if err != nil {
		return 0, fmt.Errorf("entries %q: %w", columns[0], err)
	}
	return count, nil
}

// readNumber gives [hostfs.ErrGone] if the file is not there.
func readNumber(path string) (uint64, error) {
	b, err := hostfs.ReadFile(path, nil)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", path, err)
	}
	n, err := strconv.ParseUint(string(bytes.TrimSpace(b)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("parse %s: %w", path, err)
	}
	return n, nil
}

func (t conntrackTable) judge() Result {
	if t.limit == 0 {
		return Result{
			Status: Pass, Found: fmt.Sprintf("%d entries, without a limit", t.count),
			Meaning: "No connection is refused for want of room in conntrack's table.",
		}
	}
	share := t.count * 100 / t.limit
	r := Result{
		Status: Pass, Found: fmt.Sprintf("%d of %d entries, %d %%", t.count, t.limit, share),
		Meaning: "There is room for connections in conntrack's table.",
	}
	if share >= fullShare {
		r.Status = Warn
		r.Meaning = "When the table is full the host drops the first packet of each new connection, also of those whose addresses are not " +
			"translated: connects time out (the kernel logs: nf_conntrack: table full, dropping packet)."
		r.Remedy = fmt.Sprintf("sysctl -w net.netfilter.nf_conntrack_max=%d, and the same in /etc/sysctl.d. First see what fills it "+
			"(conntrack -L): a client without keep-alive, or a scan.", 2*t.limit)
	}
	return r
}
