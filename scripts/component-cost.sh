#!/usr/bin/env bash
# Prints, as a Markdown table, by how much the binary shrinks when one outside
# component is left out. Costs overlap: what two components share goes only
# when both do. Takes about 15 s a component.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/env.sh

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
build() {
  go build -ldflags '-s -w' "$@" -o "$out/tallyman" ./cmd/tallyman
  stat -c %s "$out/tallyman"
}
all=$(build)
echo "| left out | smaller by |"
echo "|---|---|"
echo "| nothing ($((all / 1000000)) MB) | - |"
grep -oE '^\s+[a-z0-9]+ "[^"]+"' cmd/tallyman/components.go | while read -r alias import; do
  case $import in
    *"/collector/component\""* | *tallymanhq* | *"/otelcol\""* | *"/connector\""* | *"/exporter\""* | *"/extension\""* | *"/processor\""* | *"/receiver\""*) continue ;;
  esac
  grep -vE "\b$alias\b" cmd/tallyman/components.go >"$out/components.go"
  printf '{"Replace": {"%s/cmd/tallyman/components.go": "%s/components.go"}}\n' "$PWD" "$out" >"$out/overlay.json"
  size=$(build -overlay "$out/overlay.json")
  printf '| %s | %d.%d MB |\n' "$(basename "${import//\"/}")" $(((all - size) / 1000000)) $(((all - size) % 1000000 / 100000))
done
