#!/usr/bin/env bash
# make bench-conntrack: what it costs to know of every connection and who is behind
# its translated addresses, by the pull resolver and by ctnetlink. Prints a section
# of docs/benchmarks.md. The flags are those of the program (-quick for a look, -h
# for all).
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/env.sh

for program in ip nft conntrack; do
  if ! command -v "$program" >/dev/null; then
    echo "bench-conntrack needs $program (make setup)" >&2
    exit 1
  fi
done
if [ "$(id -u)" != 0 ]; then
  echo "bench-conntrack needs root: it makes network namespaces and loads BPF programs" >&2
  exit 1
fi

mkdir -p .cache/conntrack
go build -o .cache/conntrack/bench ./receiver/ebpfconntrackreceiver/internal/natbench
exec .cache/conntrack/bench "$@"
