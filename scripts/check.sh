#!/usr/bin/env bash
# make check: everything that can be said about the source without running it.
# With --quick without staticcheck, which a CI run leaves to make test.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/env.sh

echo "== gofmt"
# cmd/tallyman is as ocb writes it.
unformatted=$(gofmt -l internal receiver processor exporter extension test cmd/tallymanctl)
if [ -n "$unformatted" ]; then
  echo "not formatted (gofmt -w):" >&2
  echo "$unformatted" >&2
  exit 1
fi

echo "== go mod verify, tidy"
go mod verify >/dev/null
go mod tidy -diff

echo "== generated code"
before=$(scripts/generated-sum.sh)
scripts/generate.sh >/dev/null
if [ "$before" != "$(scripts/generated-sum.sh)" ]; then
  echo "generated code was stale; make generate has renewed it: commit the difference" >&2
  git status --short >&2
  exit 1
fi

echo "== go vet"
go vet ./...

if [ "${1:-}" != --quick ]; then
  echo "== staticcheck"
  scripts/staticcheck.sh
fi

echo "== house rules (test/arch)"
go test ./test/arch/...

echo "check: all good"
