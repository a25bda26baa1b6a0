#!/usr/bin/env bash
# What staticcheck says of all packages.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/env.sh
go tool -modfile=tools/go.mod staticcheck ./...
