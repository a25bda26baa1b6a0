#!/usr/bin/env bash
# Runs every fuzz test for the given time (default 2s), one after the other.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/env.sh
time=${1:-2s}
grep -rlE '^func Fuzz' --include='*_test.go' internal receiver processor exporter extension test | xargs -n 1 dirname | sort -u | while read -r dir; do
  grep -ohE '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | sed 's/^func //' | sort -u | while read -r name; do
    run() { go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" "./$dir" 2>&1; }
    # At the end of its time a worker that is late makes the go command fail with
    # just these words; a finding has its input in a file.
    if out=$(run) || { grep -q 'context deadline exceeded' <<<"$out" && ! grep -q 'Failing input' <<<"$out" && out=$(run); }; then
      echo "ok $dir $name: $(grep -oE 'execs: [0-9]+' <<<"$out" | tail -n 1)"
    else
      echo "$out"
      exit 1
    fi
  done
done
