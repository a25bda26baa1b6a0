#!/usr/bin/env bash
# Known vulnerabilities that the programs reach (govulncheck). Its database is at
# vuln.go.dev, or where GOVULNDB says; without it nothing can be said, which is
# told and is no failure.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/env.sh
db=${GOVULNDB:-https://vuln.go.dev}
index=${db%/}/index/db.json
if ! command -v curl >/dev/null; then
  echo "vulncheck needs curl (make setup)" >&2
  exit 1
fi
if ! curl --silent --fail --location --max-time 20 --output /dev/null "$index"; then
  echo "skipped: govulncheck ($index cannot be read)"
  exit 0
fi
go tool -modfile=tools/go.mod govulncheck -db "$db" ./cmd/tallyman ./cmd/tallymanctl ./distributions/full
