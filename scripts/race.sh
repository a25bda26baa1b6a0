#!/usr/bin/env bash
# The race detector over the tests that need nothing of the host: whatever asks
# testkit for an engine, cgroups, namespaces or rights is left to the plain run,
# because it shares them with other tests.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/env.sh
export CGO_ENABLED=1 # the detector is in C
mapfile -t packages < <(
  find internal receiver processor exporter extension -name '*_test.go' -printf '%h\n' | sort -u | while read -r dir; do
    grep -qE 'testkit\.(Docker|FindEngine|Start|Need|Cgroup|InN|Lack|Debian)' "$dir"/*_test.go || echo "./$dir"
  done
)
if [ ${#packages[@]} -lt 50 ]; then
  echo "race: only ${#packages[@]} packages were found; the search above is wrong" >&2
  exit 1
fi
# What a test of CPU time allows is not meant for the detector, which takes ten times as much.
go test -race -p 1 -timeout 30m -skip '^TestCostOfACapture$' "${packages[@]}"
