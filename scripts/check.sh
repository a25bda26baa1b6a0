#!/usr/bin/env bash
# make check: everything that can be said about the source without running it.
set -euo pipefail
cd "$(dirname "$0")/.."

echo "== gofmt"
unformatted=$(gofmt -l $(git ls-files -co --exclude-standard '*.go' | grep -v '^cmd/tallyman/'))
if [ -n "$unformatted" ]; then
  echo "not formatted (gofmt -w):" >&2
  echo "$unformatted" >&2
  exit 1
fi

echo "== go mod verify, tidy"
go mod verify >/dev/null
cp go.mod .cache/go.mod.before 2>/dev/null || { mkdir -p .cache && cp go.mod .cache/go.mod.before; }
cp go.sum .cache/go.sum.before
go mod tidy
if ! cmp -s go.mod .cache/go.mod.before || ! cmp -s go.sum .cache/go.sum.before; then
  echo "go.mod or go.sum was not tidy; it is now" >&2
  exit 1
fi

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

echo "== staticcheck"
go tool -modfile=tools/go.mod staticcheck ./...

echo "== house rules (test/arch)"
go test ./test/arch/...

echo "check: all good"
