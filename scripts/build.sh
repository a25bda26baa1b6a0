#!/usr/bin/env bash
# Builds bin/tallyman and bin/tallymanctl: static, stripped, with version and
# commit.
#
# The commit cannot be in the committed main.go, and ocb puts the version into
# a literal that the linker cannot set; so a copy with the commit takes the
# place of main.go for this one build (go build -overlay).
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/env.sh

version=$(sed -n 's/^  version: //p' builder-config.yaml)
commit=${TALLYMAN_COMMIT:-$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)}
if [ "$commit" != unknown ] && [ -n "$(git status --porcelain 2>/dev/null)" ]; then
  commit+=-dirty
fi

mkdir -p bin .cache
stamp=$PWD/.cache/stamp
mkdir -p "$stamp"
sed "s|\"$version\"|\"$version+$commit\"|" cmd/tallyman/main.go >"$stamp/main.go.new"
cmp -s "$stamp/main.go.new" "$stamp/main.go" || cp "$stamp/main.go.new" "$stamp/main.go"
printf '{"Replace": {"%s/cmd/tallyman/main.go": "%s/main.go"}}\n' "$PWD" "$stamp" >"$stamp/overlay.json"

go build -ldflags '-s -w' \
  -overlay "$stamp/overlay.json" -o bin/tallyman ./cmd/tallyman
go build -ldflags "-s -w -X main.version=$version+$commit" \
  -o bin/tallymanctl ./cmd/tallymanctl
