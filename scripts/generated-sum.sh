#!/usr/bin/env bash
# Prints one checksum over everything `make generate` writes.
set -euo pipefail
cd "$(dirname "$0")/.."
{
  find cmd/tallyman distributions/full docs/metrics.md docs/settings.md -type f
  find internal -type f -name '*_bpfel.*'
  find receiver processor exporter extension -type f \( -name 'generated_*' -o -name documentation.md -o -path '*/internal/metadata/*' \) 2>/dev/null || true
} | LC_ALL=C sort | xargs sha256sum | sha256sum
