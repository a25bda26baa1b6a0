#!/usr/bin/env bash
# Builds static, stripped binaries with version and commit.
#
#   build.sh         bin/tallyman and bin/tallymanctl
#   build.sh --full  bin/tallyman-full alone: the distribution for gateways
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

distribution() { # name of the binary, folder of the main package
  local name=$1 dir=$2 stamp=$PWD/.cache/stamp/$1
  mkdir -p bin "$stamp"
  sed "s|\"$version\"|\"$version+$commit\"|" "$dir/main.go" >"$stamp/main.go.new"
  cmp -s "$stamp/main.go.new" "$stamp/main.go" || cp "$stamp/main.go.new" "$stamp/main.go"
  printf '{"Replace": {"%s/%s/main.go": "%s/main.go"}}\n' "$PWD" "$dir" "$stamp" >"$stamp/overlay.json"
  go build -ldflags '-s -w' -overlay "$stamp/overlay.json" -o "bin/$name" "./$dir"
}

case ${1:-} in
--full) distribution tallyman-full distributions/full ;;
"")
  distribution tallyman cmd/tallyman
  go build -ldflags "-s -w -X main.version=$version+$commit" -o bin/tallymanctl ./cmd/tallymanctl
  ;;
*)
  echo "usage: ${0##*/} [--full]" >&2
  exit 2
  ;;
esac
