# Sourced by the other scripts: one set of flags for build, vet, test and
# staticcheck, so that they share Go's build cache and see the same files.
#   remove_all_sd: leaves out Prometheus' service discoveries (cloud SDKs).
#   buildvcs=false: scripts/build.sh puts the commit into --version itself.
# shellcheck shell=bash
export GOFLAGS="-trimpath -buildvcs=false -tags=remove_all_sd"
export CGO_ENABLED=0
