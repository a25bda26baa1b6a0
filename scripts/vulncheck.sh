#!/usr/bin/env bash
# Known vulnerabilities that the programs reach (govulncheck). Its database is at
# vuln.go.dev, or where GOVULNDB says. Where that cannot be reached nothing can be
# said: a skip, with a warning where tests are required. A database that answers
# with something else is a failure, as is a vulnerability.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/env.sh
db=${GOVULNDB:-https://vuln.go.dev}
index=${db%/}/index/db.json
if ! command -v curl >/dev/null; then
  echo "vulncheck needs curl (make setup)" >&2
  exit 1
fi

code=0
reason=$(curl --silent --show-error --fail --location --max-time 20 --output /dev/null "$index" 2>&1) || code=$?
case $code in
0) ;;
# No proxy, no name, no connection, no answer in time, or none at all (curl(1)).
5 | 6 | 7 | 28 | 52 | 56)
  echo "skipped: govulncheck ($index: $reason)"
  if [ "${TALLYMAN_REQUIRE:-}" = 1 ]; then
    echo "WARNING: nobody has looked for known vulnerabilities in this run." >&2
    echo "WARNING: run make vulncheck where $db can be reached, before a release." >&2
  fi
  exit 0
  ;;
*)
  echo "vulncheck: read $index: $reason" >&2
  exit 1
  ;;
esac
go tool -modfile=tools/go.mod govulncheck -db "$db" ./cmd/tallyman ./cmd/tallymanctl ./distributions/full
