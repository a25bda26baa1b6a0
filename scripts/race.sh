#!/usr/bin/env bash
# The race detector over the tests that need nothing of the host: whatever asks
# testkit for an engine, cgroups, namespaces or rights is left to the plain run,
# because it shares them with other tests.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/env.sh
export CGO_ENABLED=1 # the detector is in C
mapfile -t packages < <(scripts/test-packages.sh own | grep -E '^\./(internal|receiver|processor|exporter|extension)/')
if [ ${#packages[@]} -lt 50 ]; then
  echo "race: only ${#packages[@]} packages were found; the search in test-packages.sh is wrong" >&2
  exit 1
fi
# What a test of CPU time allows is not meant for the detector, which takes ten times as much.
go test "${checked[@]}" -race -p 1 -timeout 30m -skip '^TestCostOfACapture$' "${packages[@]}"
