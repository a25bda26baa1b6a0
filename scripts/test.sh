#!/usr/bin/env bash
# make test: all tests. As root on a host that setup could prepare, a feature
# that is missing is a failure; elsewhere tests are skipped by name.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/env.sh

if [ "$(id -u)" = 0 ] && scripts/setup.sh --check >/dev/null 2>&1; then
  export TALLYMAN_REQUIRE=1
fi

echo "== build"
scripts/build.sh
scripts/build.sh --full

# What only computes runs beside what mostly waits, when nobody else wants a
# processor (SCHED_IDLE), and is waited for before the rest computes, too.
mkdir -p .cache
set -m # a process group of its own, to be ended with what it started
chrt --idle 0 scripts/test-beside.sh >.cache/beside.log 2>&1 &
beside=$!
set +m
trap 'kill -- -"$beside" 2>/dev/null || true' EXIT

echo "== unit and integration tests, benchmarks"
scripts/test-unit.sh

echo "== end to end"
go test "${checked[@]}" -count=1 -timeout 40m ./test/e2e/... | tee .cache/e2e.log || {
  echo "== what failed end to end, without the agents' logs"
  grep -vE '^ +20[0-9]{2}-[0-9]{2}-[0-9]{2}T' .cache/e2e.log | cut -c 1-600
  exit 1
}

echo "== staticcheck, fuzzing, race detector, known vulnerabilities"
code=0
wait "$beside" || code=$?
cat .cache/beside.log
[ "$code" = 0 ] || exit "$code"

echo "== documents and manifests"
go test "${checked[@]}" -count=1 -timeout 15m ./test/docs

if [ "${TALLYMAN_REQUIRE:-}" = 1 ]; then
  echo "== virtual machine"
  go build -o .cache/vm-runner ./test/vm
  # Two at a time: a machine has one processor. The longest come first.
  runs=("-kernel 6.1" "-kernel 5.10 -suite network" "-kernel 6.12 -suite network"
    "-kernel 6.1 -suite network" "-kernel 5.10 -suite process" "-kernel 6.12 -suite process")
  printf '%s\n' "${runs[@]}" | xargs -d '\n' -n 1 -P 2 scripts/test-vm.sh
else
  echo "skipped: virtual machine (needs root, qemu-system-x86 and busybox-static: make setup)"
fi
echo "test: all good"
