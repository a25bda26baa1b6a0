#!/usr/bin/env bash
# The tests of the packages, and each of their benchmarks once: that it runs, not what it
# says. What shares the engine and the host goes one package after the other; beside it,
# with less right to the processors, what shares nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/env.sh
# 24 simulated minutes, in which one block is cut.
export METRICSTORE_BENCH_HOURS=0.4
mkdir -p .cache
mapfile -t own < <(scripts/test-packages.sh own)
mapfile -t host < <(scripts/test-packages.sh host)
if [ ${#own[@]} -lt 50 ] || [ ${#host[@]} -lt 30 ]; then
  echo "test-unit: ${#own[@]} and ${#host[@]} packages were found; the search in test-packages.sh is wrong" >&2
  exit 1
fi

run() { # packages
  go test "${checked[@]}" -p 1 -timeout 20m -bench . -benchtime 1x "$@"
}
# The figures of a single run say nothing.
quiet() { grep -vE '^(Benchmark|goos: |goarch: |pkg: |cpu: |PASS$|[ \t]+[0-9.e+]+ )' || true; }

set -m # a process group of its own, to be ended with what it started
(run "${own[@]}" 2>&1 | quiet) >.cache/own.log &
beside=$!
set +m
trap 'kill -- -"$beside" 2>/dev/null || true' EXIT
renice -n 5 -g "$beside" >/dev/null || true # it may be over already
code=0
run "${host[@]}" 2>&1 | quiet || code=$?
wait "$beside" || code=$?
cat .cache/own.log
# Other modules, and of the image's test what needs neither an image nor an engine.
(cd test/bench/statsd && go test -p 1 .) || code=$?
go test "${checked[@]}" ./test/ship -skip '^TestShip$' || code=$?
exit "$code"
