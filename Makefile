# `make` lists the targets. Everything CI does is a target here.
SHELL := /bin/bash
# Keep equal to scripts/env.sh.
export GOFLAGS := -trimpath -buildvcs=false -tags=remove_all_sd
export CGO_ENABLED := 0

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: ## build and start the agent with otelcol-config.yaml; state in ./.tallyman
	@scripts/run.sh

.PHONY: demo
demo: ## start a few containers and the agent, show what it sees (root; uses or starts a Docker engine)
	@scripts/run.sh --build-only
	@go run ./test/demo

.PHONY: build
build: ## static bin/tallyman and bin/tallymanctl
	@scripts/build.sh

.PHONY: gateway
gateway: ## static bin/tallyman-full, the distribution for gateways (deploy/gateway.yaml)
	@scripts/build.sh --full

.PHONY: test
test: setup ## set up what the tests need, then run all of them
	@scripts/test.sh

.PHONY: test-unit
test-unit: ## tests of the packages, benchmarks once; what needs root or an engine is skipped without
	@scripts/test-unit.sh

.PHONY: test-vm
test-vm: ## run the cgroup tests under Debian's 6.1 kernel with cgroup v2 alone (QEMU)
	go run ./test/vm

.PHONY: test-vm-docker
test-vm-docker: ## the agent's package as a systemd unit beside Docker on cgroup v2 alone (QEMU; root the first time)
	@scripts/test-vm-docker.sh

.PHONY: bench
bench: ## benchmarks; compare the figures of one run only
	scripts/bench.sh

.PHONY: bench-peers
bench-peers: ## measure cAdvisor and docker_stats next to ours, write docs/benchmarks.md (root, Docker, 35 minutes)
	@scripts/bench-peers.sh

.PHONY: bench-statsd
bench-statsd: ## measure contrib's statsd receiver and statsd_exporter next to ours (root, 25 minutes)
	@scripts/bench-statsd.sh

.PHONY: bench-conntrack
bench-conntrack: ## measure what knowing every connection behind NAT costs, by BPF and by ctnetlink (root, 2 minutes)
	@scripts/bench-conntrack.sh

.PHONY: screenshots
screenshots: build ## take the pictures of README in docs/images (root, Docker, chromium; a quiet host, 4 minutes)
	mkdir -p .cache/screenshots docs/images
	TALLYMAN_SCREENSHOTS=$(CURDIR)/.cache/screenshots TALLYMAN_REQUIRE=1 go test ./test/e2e -count=1 -timeout 15m -run 'TestRecorderPages$$'
	for page in containers container timeline captures explore agent; do \
	  cp ".cache/screenshots/$$page-light.png" "docs/images/$$page.png" || exit 1; \
	done

.PHONY: check
check: setup ## formatting, vet, static checks, house rules, stale generated code
	@scripts/check.sh

.PHONY: check-quick
check-quick: setup ## the same without the static checks, which make test has, too
	@scripts/check.sh --quick

.PHONY: generate
generate: ## write the generated code: component metadata, cmd/tallyman, BPF objects
	@scripts/generate.sh

.PHONY: setup
setup: ## install what the tests need (Debian as root), or say what is missing
	@scripts/setup.sh

.PHONY: image
image: build ## container image tallyman:dev (needs a Docker engine)
	@scripts/image.sh

.PHONY: test-ship
test-ship: build ## the image with the rights of docs/privileges.md, and with each taken away (root, Docker, 4 minutes, a quiet host)
	go test -count=1 -timeout 15m -parallel 4 ./test/ship/...

.PHONY: soak
soak: ## churn, floods, reloads and restarts for SOAK_DURATION (20m), and whether the agent grows (root, Docker)
	@scripts/soak.sh

.PHONY: test-docs
test-docs: ## every block of code on every page, and the manifests for Kubernetes and ECS (root: one pod on containerd)
	go test -count=1 -timeout 15m ./test/docs

.PHONY: packages
packages: ## .deb and .rpm for amd64 in dist (others: scripts/packages.sh --arch arm64)
	@scripts/packages.sh

.PHONY: test-vm-packages
test-vm-packages: ## install, upgrade and remove the .deb and the .rpm beside systemd and Docker (QEMU; root the first time)
	@scripts/test-vm-docker.sh -run 'Package|RPM|Reload|UnitTakes'

.PHONY: fuzz
fuzz: ## every fuzz test for FUZZTIME (30s)
	@scripts/fuzz.sh "$${FUZZTIME:-30s}"

.PHONY: race
race: ## the race detector over the tests that need nothing of the host
	@scripts/race.sh

.PHONY: vulncheck
vulncheck: ## known vulnerabilities that the programs reach (needs vuln.go.dev)
	@scripts/vulncheck.sh
