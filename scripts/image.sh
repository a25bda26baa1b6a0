#!/usr/bin/env bash
# make image: tallyman:dev, from scratch: the static binaries, the default
# configuration, the certificate authorities of this host.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! docker version >/dev/null 2>&1; then
  echo "make image needs a Docker engine that answers (docker version)" >&2
  exit 1
fi
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
cp bin/tallyman bin/tallymanctl otelcol-config.yaml deploy/otlp.yaml deploy/Dockerfile "$context/"
cp deploy/docker-filter/config.yaml "$context/docker-filter.yaml"
cp /etc/ssl/certs/ca-certificates.crt "$context/"
docker build -q -t tallyman:dev "$context"
docker image ls tallyman:dev
