#!/usr/bin/env bash
# make bench: the benchmarks whose figures docs/benchmarks.md quotes.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/env.sh
go test -run '^$' -bench Pass -benchtime 5x ./internal/cgroup
go test -run '^$' -bench . ./internal/container ./internal/procstream ./internal/hostfs ./receiver/... ./processor/... ./extension/...
