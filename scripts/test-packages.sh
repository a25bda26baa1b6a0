#!/usr/bin/env bash
# Prints the folders of the packages with tests: test-packages.sh host for those that
# ask testkit for an engine, cgroups, namespaces or rights, which they share with
# others; test-packages.sh own for those that need nothing but a processor. Left out
# are what scripts/test.sh runs by itself, the image's test (make test-ship), and folders
# with a go.mod of their own, which belong to another module.
set -euo pipefail
cd "$(dirname "$0")/.."
find internal receiver processor exporter extension cmd/tallymanctl test -name '*_test.go' -printf '%h\n' |
  sort -u | grep -vE '^test/(e2e|docs|ship)(/|$)' | while read -r dir; do
  if [ -e "$dir/go.mod" ]; then continue; fi
  needs=own
  # It asks for a program, and shares nothing.
  if [ "$dir" != test/browser ] &&
    grep -qE 'testkit\.(Docker|FindEngine|Start|Need|Cgroup|InN|Lack|Debian)' "$dir"/*_test.go; then
    needs=host
  fi
  if [ "$needs" = "$1" ]; then echo "./$dir"; fi
done
