#!/usr/bin/env bash
# make bench: the benchmarks whose figures docs/benchmarks.md quotes.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/env.sh
go test -run '^$' -bench Pass -benchtime 5x ./internal/cgroup
go test -run '^$' -bench . ./internal/container ./internal/procstream ./internal/hostfs ./receiver/... ./processor/... ./extension/...
# The flight recorder: six simulated hours at 12,000 series, 10 minutes.
GOGC=50 GOMEMLIMIT=200MiB METRICSTORE_BENCH_HOURS=6 go test -run '^$' -bench 'Host|Bare' -benchtime 1x -timeout 1h ./internal/recorder/metricstore
go test -run '^$' -bench Ingest -benchtime 1x ./internal/recorder/eventstore
go test -run '^$' -bench Capture -benchtime 3x ./internal/recorder/evidence
go test -run '^$' -bench . ./exporter/flightrecorderexporter
# The whole agent over 50 idle containers, with and without the recorder, 5 minutes.
if [ "$(id -u)" = 0 ] && command -v dockerd >/dev/null; then
  scripts/build.sh
  go run ./test/bench/idle
else
  echo "skipped: the idle agent (needs root and dockerd: make setup)"
fi
