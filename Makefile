# PiCloud. `make help` lists the targets.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# Where README.md has Go unpacked to: sudo's PATH, for one, lacks it.
export PATH := $(PATH):/usr/local/go/bin

# One set of flags everywhere, so that build, vet, golangci-lint and tests share a cache.
export GOFLAGS := -trimpath -tags=nobadger,nomysql,nopgx
export CGO_ENABLED := 0
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
GOLANGCI := go tool -modfile=tools/golangci/go.mod golangci-lint
TESTFLAGS ?=
# For example LINTFLAGS=--fix, or LINTFLAGS=--new-from-rev=main for what a branch adds.
LINTFLAGS ?=

## run: start a node; installs what is missing, builds, and keeps its data in ./data
.PHONY: run
run: setup build
	@exec deploy/setup/run.sh

## demo-cluster: three nodes on this machine, with their data in ./demo-cluster; Ctrl-C stops them
.PHONY: demo-cluster
demo-cluster: setup build
	@exec deploy/setup/demo-cluster.sh

## test: everything the tests need, then all of them
.PHONY: test
test: setup-test build lint check-generate
	env -u PICLOUD_DATABASE_URL CGO_ENABLED=1 go test -race -timeout 15m $(TESTFLAGS) ./...

## build: the binaries, into bin/
.PHONY: build
build:
	@[ -e bin/picloud ] || echo "Compiling; the first time takes minutes, and prints nothing after the downloads"
	go build -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

## setup: check Go, and install PostgreSQL if it is missing
.PHONY: setup
setup:
	@deploy/setup/install.sh

# The tests start servers of their own, whatever database is configured: nginx stands
# in front of a node, pgbouncer in front of a database. The race detector needs a C compiler.
.PHONY: setup-test
setup-test:
	@env -u PICLOUD_DATABASE_URL deploy/setup/install.sh gcc=gcc,libc6-dev nginx=nginx-light pgbouncer=pgbouncer

## lint: go vet, and golangci-lint as .golangci.yml says; it checks the formatting too
.PHONY: lint
lint:
	go vet ./...
	$(GOLANGCI) run --timeout 10m --max-issues-per-linter 0 --max-same-issues 0 $(LINTFLAGS) ./...

## fmt: format the code
.PHONY: fmt
fmt:
	$(GOLANGCI) fmt

## generate: make the generated files again: the API client, openapi.gen.json, and pages of docs/
.PHONY: generate
generate:
	go generate ./...

## check-generate: prove that the generated files are fresh
.PHONY: check-generate
check-generate:
	@deploy/setup/check-generate.sh

## cross: compile for the boards and for development on a Mac
.PHONY: cross
cross: cross-arm64
	GOOS=linux GOARCH=arm GOARM=7 go build -ldflags '$(LDFLAGS)' -o dist/linux-armv7/ ./cmd/...
	GOOS=linux GOARCH=arm GOARM=6 go build -ldflags '$(LDFLAGS)' -o dist/linux-armv6/ ./cmd/...
	GOOS=darwin GOARCH=arm64 go build -ldflags '$(LDFLAGS)' -o dist/darwin-arm64/ ./cmd/...

## cross-arm64: compile for 64-bit ARM boards, into dist/linux-arm64/
.PHONY: cross-arm64
cross-arm64:
	@echo "Compiling for linux/arm64; the first time takes minutes"
	GOOS=linux GOARCH=arm64 go build -ldflags '$(LDFLAGS)' -o dist/linux-arm64/ ./cmd/...

## fuzz: run every fuzz target for FUZZTIME (default 30s) each
FUZZTIME ?= 30s
.PHONY: fuzz
fuzz:
	@deploy/setup/fuzz.sh $(FUZZTIME)

## bench: measure speed and memory in one run; writes bench/results.json and docs/perf.md
.PHONY: bench
bench: setup build
	@bench/run.sh

## test-cluster: the suite of whole clusters in its long form; takes hours, and needs root and the history of the repository
.PHONY: test-cluster
test-cluster: setup-test
	PICLOUD_TEST_CLUSTER=long go test -count=1 -timeout 1h -v -run '^TestPowerCuts' ./agent/replica ./cluster ./cluster/elect
	env -u PICLOUD_DATABASE_URL PICLOUD_TEST_CLUSTER=long go test -count=1 -timeout 6h -v $(TESTFLAGS) ./test/cluster

## bench-cluster: measure an idle cluster of three nodes, and of fifty, for five minutes each; needs root
.PHONY: bench-cluster
bench-cluster: setup-test
	env -u PICLOUD_DATABASE_URL PICLOUD_BENCH_CLUSTER=5m go test -count=1 -timeout 30m -run '^TestMeasure$$' -v ./test/cluster
	env -u PICLOUD_DATABASE_URL PICLOUD_TEST_CLUSTER=long PICLOUD_BENCH_CLUSTER=5m go test -count=1 -timeout 30m -run '^TestFifty$$' -v ./test/cluster

## clean: remove what the build made
.PHONY: clean
clean:
	rm -rf bin dist

## help: list the targets
.PHONY: help
help:
	@sed -n 's/^## \([^:]*\): /\1\t/p' $(MAKEFILE_LIST) | awk -F'\t' '{printf "  make %-15s %s\n", $$1, $$2}'
