#!/usr/bin/env bash
# Writes everything that is generated: component metadata by mdatagen and the
# distribution's main package by ocb. Both run as tools of go.mod, so their
# version is the one pinned there.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/env.sh

for metadata in receiver/*/metadata.yaml processor/*/metadata.yaml exporter/*/metadata.yaml extension/*/metadata.yaml; do
  [ -e "$metadata" ] || continue
  echo "mdatagen $metadata"
  go tool mdatagen "$metadata"
done

# ocb writes a whole module; only its Go files are ours to keep, in the one
# module of this repository.
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
sed "s|^  output_path: .*|  output_path: $out|; s|^    path: \.\$|    path: $PWD|" builder-config.yaml >"$out/builder-config.yaml"
echo "builder builder-config.yaml"
if ! go tool builder --config "$out/builder-config.yaml" --skip-compilation --skip-get-modules >"$out/log" 2>&1; then
  cat "$out/log" >&2
  exit 1
fi
mkdir -p cmd/tallyman
rm -f cmd/tallyman/main*.go cmd/tallyman/components.go
cp "$out"/main*.go "$out"/components.go cmd/tallyman/
rm -f cmd/tallyman/main_windows.go # no Windows build
