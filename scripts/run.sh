#!/usr/bin/env bash
# make run: builds the agent if needed and starts it with the default
# configuration. Needs Go and bash; installs nothing; writes below ./bin,
# ./.cache and ./.tallyman only (and into Go's own caches).
set -euo pipefail
cd "$(dirname "$0")/.."

minimum=$(sed -n 's/^go //p' go.mod)
if ! command -v go >/dev/null; then
  echo "make run needs Go $minimum or newer: https://go.dev/dl/" >&2
  exit 1
fi

if [ ! -x bin/tallyman ]; then
  echo "Compiling bin/tallyman. The first time this downloads and compiles about 900 packages: 3 minutes on 2 cores."
else
  echo "Compiling bin/tallyman (only what has changed)."
fi
scripts/build.sh
[ "${1:-}" = --build-only ] && exit 0

export TALLYMAN_STATE=${TALLYMAN_STATE:-$PWD/.tallyman}
export TALLYMAN_STATSD_DIR=${TALLYMAN_STATSD_DIR:-$TALLYMAN_STATE/statsd}
# The memory_limiter refuses data at 400 MiB; the collector of garbage works
# harder before that.
export GOMEMLIMIT=${GOMEMLIMIT:-320MiB}
mkdir -p "$TALLYMAN_STATE"

# Ready when the health check answers; bash can ask without curl.
ready() {
  exec 3<>/dev/tcp/127.0.0.1/13133 || return 1
  printf 'GET / HTTP/1.0\r\n\r\n' >&3
  read -r _ code _ <&3
  exec 3>&-
  [ "$code" = 200 ]
} 2>/dev/null

if ready; then
  echo "another agent answers on localhost:13133: stop it first (see docs/troubleshooting.md)" >&2
  exit 1
fi

echo "Starting bin/tallyman; state in $TALLYMAN_STATE. Stop it with Ctrl-C."
bin/tallyman --config otelcol-config.yaml "$@" &
agent=$!
trap 'kill -TERM "$agent" 2>/dev/null || true' INT TERM

until ready; do
  kill -0 "$agent" 2>/dev/null || break
  read -rt 0.2 <> <(:) || true
done
if kill -0 "$agent" 2>/dev/null; then
  echo "Tallyman is up. Metrics: http://localhost:9464/metrics  Health: http://localhost:13133  OTLP: localhost:4317 (gRPC), localhost:4318 (HTTP)  Events: $TALLYMAN_STATE/events.jsonl  Docker, read-only: $TALLYMAN_STATE/docker.sock  DogStatsD: $TALLYMAN_STATSD_DIR/dsd.socket"
  echo "Look at your containers: http://localhost:9480"
fi
# A signal ends the first wait; the second one waits for the orderly shutdown.
wait "$agent" || true
wait "$agent" 2>/dev/null || exit $?
