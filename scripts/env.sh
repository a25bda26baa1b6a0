# Sourced by the other scripts: one set of flags for build, vet, test and
# staticcheck, so that they share Go's build cache and see the same files.
#   remove_all_sd: leaves out Prometheus' service discoveries (cloud SDKs).
#   buildvcs=false: scripts/build.sh puts the commit into --version itself.
# shellcheck shell=bash
export GOFLAGS="-trimpath -buildvcs=false -tags=remove_all_sd"
# For tests that make check has vetted: once is enough, and nobody debugs their
# binaries (of some 150, linked in two thirds of the time).
# shellcheck disable=SC2034
checked=(-vet=off -ldflags=-w)
export CGO_ENABLED=0
