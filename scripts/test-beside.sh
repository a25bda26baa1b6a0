#!/usr/bin/env bash
# The part of the tests that needs processors and nothing else of the host.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "-- staticcheck"
scripts/staticcheck.sh
echo "-- fuzzing, a few seconds each"
scripts/fuzz.sh "${FUZZTIME:-2s}"
echo "-- race detector"
scripts/race.sh
echo "-- known vulnerabilities"
scripts/vulncheck.sh
