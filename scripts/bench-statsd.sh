#!/usr/bin/env bash
# make bench-statsd: the uds_statsd receiver beside contrib's statsd receiver and
# the parser of statsd_exporter. Prints a section of docs/benchmarks.md. The flags
# are those of test/bench/statsd (-quick for a look, -h for all).
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/env.sh

if [ "$(id -u)" != 0 ]; then
  echo "bench-statsd needs root: the receiver asks the kernel who sends" >&2
  exit 1
fi

mkdir -p .cache/statsd
go test -c -o .cache/statsd/aggregate.test ./receiver/udsstatsdreceiver/internal/aggregate
# The peers are in a module of its own: neither our build tag nor their versions in
# our go.mod.
(cd test/bench/statsd && GOFLAGS="-trimpath -buildvcs=false" go build -o "$OLDPWD/.cache/statsd/bench" .)
# The receiver has a core to itself, the senders have the other one.
exec taskset -c 0 .cache/statsd/bench "$@"
