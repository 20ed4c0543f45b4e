# Everything a person does with this tree. `make help` lists it; only Go is needed, except where a target says otherwise.

SHELL      := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GOLANGCI_LINT := v2.15.0
FUZZTIME      ?= 20s
BENCHTIME     ?= 1s
BENCH         ?= .
RUNS          ?= ingest deliver latency idle store
ARGS          ?=
PACKAGES      ?= ./...
TESTFLAGS     ?=

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X github.com/laudspeaker/laudspeaker/cmd.version=$(VERSION)

# One set of flags for build, test and microbench: the compiler's cache is then shared, and the large provider SDKs are
# compiled once. The version comes from LDFLAGS, so that a commit alone relinks and recompiles nothing.
export GOFLAGS     := $(strip $(shell go env GOFLAGS) -trimpath -buildvcs=false)
export CGO_ENABLED := 0

# The file carries the version: raising the pin installs anew. It brings gofumpt v0.12.0 with it.
TOOLS  := $(CURDIR)/.tools/bin
LINTER := $(TOOLS)/golangci-lint-$(GOLANGCI_LINT)

.PHONY: help build run test sdks race chaos cluster soak lint check bench microbench fuzz kafka postgres generate
.PHONY: check-vet check-tidy check-generated check-star

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  \033[1m%-10s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## bin/laudspeaker, one static binary (the first build takes minutes, later ones seconds)
	@[ -e bin/laudspeaker ] || echo "Building bin/laudspeaker. The first build compiles every dependency: one and a half to three minutes on two cores."
	@go build -ldflags '$(LDFLAGS)' -o bin/laudspeaker .

run: build ## the whole of Laudspeaker on this machine, Kafka included; sends nothing until a gateway is configured (ARGS='--config FILE')
	@exec bin/laudspeaker all $(ARGS)

# Most of the time of the tests is waiting: more of them run at once than there are cores.
test: ## all tests, with only Go (LAUDSPEAKER_TEST_BROKERS=host:port runs them on a real Kafka, LAUDSPEAKER_TEST_POSTGRES=postgres://… the store's on a real PostgreSQL too)
	go test -timeout=20m -parallel=6 $(TESTFLAGS) $(PACKAGES)

race: ## all tests under the race detector (needs a C compiler)
	CGO_ENABLED=1 go test -race $(TESTFLAGS) $(PACKAGES)

# LAUDSPEAKER_TEST_BROKERS only turns the suite on: its broker is its own, there to be killed, and it starts it itself.
chaos: export LAUDSPEAKER_TEST_BROKERS ?= 127.0.0.1:19892
chaos: export LAUDSPEAKER_TEST_CHAOS       := $(CHAOS)
chaos: export LAUDSPEAKER_TEST_CHAOS_KILLS := $(KILLS)
chaos: export LAUDSPEAKER_TEST_CHAOS_SEED  := $(SEED)
chaos: ## kills, freezes and cuts off everything under load, on a Kafka of its own (needs Java 17 and Maven; CHAOS=1000000 KILLS=200 SEED=1)
	go test -count=1 -timeout=24h -v -run '$(or $(TESTS),TestChaos)' ./cmd

cluster: ## lets single brokers and partitions fail under load, on a Kafka of three nodes of its own (needs Java 17 and Maven; FORM=short, FAULTS=frozen,job; FORM=chaos CHAOS=1000000 KILLS=200)
	LAUDSPEAKER_TEST_CLUSTER=$(or $(FORM),long) LAUDSPEAKER_TEST_CLUSTER_FAULTS=$(FAULTS) LAUDSPEAKER_TEST_CHAOS_SEED=$(SEED) \
	LAUDSPEAKER_TEST_CHAOS=$(CHAOS) LAUDSPEAKER_TEST_CHAOS_KILLS=$(KILLS) \
		go test -count=1 -timeout=24h -v -run '^TestCluster' ./cmd

soak: export LAUDSPEAKER_TEST_BROKERS ?= 127.0.0.1:19092
soak: export LAUDSPEAKER_TEST_SOAK    := $(or $(MINUTES),30)
soak: ## API and workers of three channels with no CPU to spare; fails on any rebalance, loss or repetition (needs `make kafka`; MINUTES=30)
	go test -count=1 -timeout=24h -v -run '^TestSoak$$' ./cmd

lint: $(LINTER) ## golangci-lint with gofumpt, pinned, installed into .tools on first use (ARGS=--fix formats)
	$(LINTER) run --allow-parallel-runners $(ARGS) ./...

# -mod=mod: the module follows the requirements of the main one.
sdks: ## the SDKs of Svix, Twilio and AWS sign, send and verify against our code (a module of its own, which downloads them)
	cd internal/sdktest && go test -mod=mod -timeout=5m $(TESTFLAGS) ./...

check: check-vet lint check-tidy check-generated check-star ## vet, lint, go.mod, generated files, the import star: what must hold before a commit

check-vet:
	go vet ./...

check-tidy:
	go mod tidy -diff
	go mod verify >/dev/null

# The generators write below the folder where they run: here for `make generate`, elsewhere to compare.
GENERATED  := configs/laudspeaker.yaml docs/configuration.md docs/openapi.json
GENERATORS := config/gen producer/gen

generate: ## write configs/laudspeaker.yaml, docs/configuration.md and docs/openapi.json from the code
	@for generator in $(GENERATORS); do go run ./$$generator; done

check-generated:
	@fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; mkdir "$$fresh"/configs "$$fresh"/docs; \
	for generator in $(GENERATORS); do go build -o "$$fresh/gen" ./$$generator; (cd "$$fresh" && ./gen); done; \
	for file in $(GENERATED); do \
		diff -u $$file "$$fresh/$$file" || { echo "$$file is not what the code says: make generate"; exit 1; }; \
	done

# -count=1: go test's cache does not see what the tests ask of go list.
check-star:
	go test -count=1 ./internal/house

bench: build ## throughput, latency, CPU time and memory on this machine, an hour in all (RUNS=ingest ARGS='--batch 500' runs one, ARGS=--short shows each in seconds)
	@for run in $(RUNS); do bin/laudspeaker bench $$run $(ARGS); echo; done

microbench: ## benchmarks of single packages, the SMTP sender beside a plain connection pool among them (BENCH=regexp BENCHTIME=1s)
	go test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem $(PACKAGES)

fuzz: ## every fuzzer for FUZZTIME (20s) each
	@for file in $$(grep -rl --include='*_test.go' '^func Fuzz' .); do \
		for fuzzer in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$file); do \
			echo "== $$fuzzer in $$(dirname $$file)"; \
			go test -run '^$$' -fuzz "^$$fuzzer\$$" -fuzztime $(FUZZTIME) $$(dirname $$file); \
		done; \
	done

kafka: ## start a real Apache Kafka on this machine (needs Java 17 and Maven; `scripts/kafka.sh stop` ends it)
	scripts/kafka.sh start

postgres: ## start a real PostgreSQL on this machine (Debian: apt-get install postgresql; `scripts/postgres.sh stop` ends it)
	scripts/postgres.sh start

$(LINTER):
	@echo "Installing golangci-lint $(GOLANGCI_LINT) into .tools (minutes, once)"
	@env -u CGO_ENABLED GOFLAGS= GOBIN=$(TOOLS) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT)
	@mv $(TOOLS)/golangci-lint $@
