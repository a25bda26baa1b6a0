#!/usr/bin/env bash
# make soak: the agent under churn, floods and reloads for SOAK_DURATION (20m), and
# whether it grows meanwhile. The flags are those of test/soak (-h for all); see
# docs/soak.md.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/env.sh

for program in dockerd ip busybox; do
  if ! command -v "$program" >/dev/null; then
    echo "soak needs $program (make setup)" >&2
    exit 1
  fi
done
if [ "$(id -u)" != 0 ]; then
  echo "soak needs root: it starts a Docker engine and makes cgroups" >&2
  exit 1
fi

# The agent as it is shipped, with one file more in package main, which tells the
# soak of goroutines and heap (test/soak/inside).
mkdir -p .cache/soak
printf '{"Replace": {"%s/cmd/tallyman/inside.go": "%s/test/soak/testdata/inside.go.txt"}}\n' "$PWD" "$PWD" >.cache/soak/overlay.json
go build -ldflags '-s -w' -overlay .cache/soak/overlay.json -o .cache/soak/tallyman ./cmd/tallyman
go build -o .cache/soak/soak ./test/soak
exec .cache/soak/soak -duration "${SOAK_DURATION:-20m}" "$@"
