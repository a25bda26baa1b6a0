#!/usr/bin/env bash
# Runs every fuzz test for the given time (default 2s), one after the other.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/env.sh
time=${1:-2s}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Only this module is instrumented. With `go test -fuzz` it would be all that a package
# imports, compiled anew for each package: twelve minutes of a processor.
module=$(go list -m)
instrument=(-gcflags="$module/...=-d=libfuzzer")

fuzz() { # test binary, name of the test
  timeout --foreground 10m "$1" -test.run '^$' -test.fuzz "^$2\$" -test.fuzztime "$time" -test.fuzzcachedir "$work/corpus" 2>&1
}

mapfile -t dirs < <(grep -rlE '^func Fuzz' --include='*_test.go' internal receiver processor exporter extension test |
  xargs -n 1 dirname | sort -u)

if [ ${#dirs[@]} -lt 40 ]; then
  echo "fuzz: only ${#dirs[@]} packages were found; the search is wrong" >&2
  exit 1
fi

# One command builds all, but for those that would be called the same.
declare -A called binary
rounds=()
for dir in "${dirs[@]}"; do
  base=${dir##*/}
  round=${called[$base]:-0}
  called[$base]=$((round + 1))
  binary[$dir]=$work/$round/$base.test
  rounds[round]="${rounds[round]:-} ./$dir"
done
for round in "${!rounds[@]}"; do
  mkdir "$work/$round"
  # shellcheck disable=SC2086 # folders, without spaces
  go test "${checked[@]}" "${instrument[@]}" -c -o "$work/$round/" ${rounds[round]}
done

for dir in "${dirs[@]}"; do
  grep -ohE '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | sed 's/^func //' | sort -u >"$work/names"
  while read -r name; do
    # At the end of its time a worker that is late makes the test fail with just
    # these words; a finding has its input in a file.
    for try in 1 2 3 4 5; do
      code=0
      out=$(cd "$dir" && fuzz "${binary[$dir]}" "$name") || code=$?
      if [ "$code" = 0 ] || [ "$try" = 5 ] || ! grep -q 'context deadline exceeded' <<<"$out" || grep -q 'Failing input' <<<"$out"; then
        break
      fi
    done
    if [ "$code" = 0 ] && grep -q 'not built with coverage instrumentation' <<<"$out"; then
      code=1
    fi
    if [ "$code" != 0 ]; then
      echo "$out"
      echo "fuzz: $dir $name found something, or could not run" >&2
      exit 1
    fi
    echo "ok $dir $name: $(grep -oE 'execs: [0-9]+' <<<"$out" | tail -n 1)"
  done <"$work/names"
done
