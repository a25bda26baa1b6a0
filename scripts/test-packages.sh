#!/usr/bin/env bash
# Prints the folders of the packages with tests: test-packages.sh host for those that
# ask testkit for an engine, cgroups, namespaces or rights, which they share with
# others; test-packages.sh own for those that need nothing but a processor. Left out
# is what scripts/test.sh runs by itself.
set -euo pipefail
cd "$(dirname "$0")/.."
find internal receiver processor exporter extension cmd/tallymanctl test -name '*_test.go' -printf '%h\n' |
  sort -u | grep -vE '^test/(e2e|docs|ship)(/|$)' | while read -r dir; do
  needs=own
  # These ask for a program, and share nothing.
  if [[ $dir != test/browser && $dir != test/ocb ]] &&
    grep -qE 'testkit\.(Docker|FindEngine|Start|Need|Cgroup|InN|Lack|Debian)' "$dir"/*_test.go; then
    needs=host
  fi
  if [ "$needs" = "$1" ]; then echo "./$dir"; fi
done
