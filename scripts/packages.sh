#!/usr/bin/env bash
# make packages: tallyman.deb and tallyman.rpm in dist, from deploy/packages.
#
#   packages.sh                     for amd64, version of builder-config.yaml
#   packages.sh --arch arm64        for this one; may be given several times
#   packages.sh --version 1.2.3     with another version number
#   packages.sh --output DIR        elsewhere than in dist
#   packages.sh --binaries DIR      of programs that are there, with one --arch
#
# The same commit gives the same packages: their times are the commit's, or
# SOURCE_DATE_EPOCH.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/.."
source scripts/env.sh

arches=()
version=$(sed -n 's/^  version: //p' builder-config.yaml)
output=dist
binaries=
while [ $# -gt 0 ]; do
  case $1 in
  --arch) arches+=("$2") ;;
  --version) version=$2 ;;
  --output) output=$2 ;;
  --binaries) binaries=$2 ;;
  *)
    echo "packages: unknown argument $1 (see the head of $0)" >&2
    exit 2
    ;;
  esac
  shift 2
done
[ ${#arches[@]} -gt 0 ] || arches=(amd64)

# build ARCH puts the programs for a machine into a folder and prints its name. What
# build.sh has stamped with version and commit is compiled for other machines, too.
build() {
  local folder=.cache/packages/$1 stamp=.cache/stamp/tallyman stamped
  mkdir -p "$folder"
  if [ "$1" = "$(go env GOHOSTARCH)" ]; then
    cp bin/tallyman bin/tallymanctl "$folder/"
  else
    stamped=$(sed -n 's/.*Version: *"\(.*\)",$/\1/p' "$stamp/main.go")
    GOARCH=$1 go build -ldflags '-s -w' -overlay "$stamp/overlay.json" -o "$folder/tallyman" ./cmd/tallyman
    GOARCH=$1 go build -ldflags "-s -w -X main.version=$stamped" -o "$folder/tallymanctl" ./cmd/tallymanctl
  fi
  echo "$folder"
}

[ -n "$binaries" ] || scripts/build.sh
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export PACKAGE_VERSION=$version PACKAGE_ARCH PACKAGE_BINARIES
mkdir -p "$output"
for PACKAGE_ARCH in "${arches[@]}"; do
  PACKAGE_BINARIES=${binaries:-$(build "$PACKAGE_ARCH")}
  for packager in deb rpm; do
    go tool -modfile=tools/go.mod nfpm package --config deploy/packages/nfpm.yaml --packager "$packager" --target "$output"
  done
done
