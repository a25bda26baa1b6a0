#!/usr/bin/env bash
# make bench-peers: builds our agent and those it is compared with, and measures
# them one after the other over the same containers. The flags are those of
# test/bench/peers (-quick for a look, -h for all).
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/env.sh

for program in dockerd ip busybox git; do
  if ! command -v "$program" >/dev/null; then
    echo "bench-peers needs $program (make setup)" >&2
    exit 1
  fi
done
if [ "$(id -u)" != 0 ]; then
  echo "bench-peers needs root: it starts a Docker engine of its own" >&2
  exit 1
fi

# The peers are modules of their own: neither our build tag nor our versions.
mkdir -p .cache/peers
for peer in cadvisor collector; do
  echo "Building $peer."
  (cd "test/bench/peers/$peer" && GOFLAGS="-trimpath -buildvcs=false" go build -o "$OLDPWD/.cache/peers/$peer" .)
done
echo "Building bin/tallyman."
scripts/build.sh
go build -o .cache/peers/bench ./test/bench/peers
exec .cache/peers/bench "$@"
