# `make run` to try Drowse, `make test` before you hand in a change. Both install what is missing.

PROGRAM_SEEDS := $(or $(SEEDS),10000)
SEEDS  ?= 1000000
CYCLES ?= 200
CONFIG ?= config/local.yaml
FILE   ?= loadtest/scenarios/churn.yaml

.PHONY: help run test check simulate simulate-program bursts chaos fuzz bench bench-abuse bench-messages bench-core bench-instructions bench-cluster scale scenario references image cluster cluster-down upstream-e2e

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: ## Build, and start Drowse with two demo agents; Ctrl-C ends all
	@scripts/run $(CONFIG)

test: ## Run every check and test
	@scripts/test

check: ## The quick inner loop: format, lints, unit tests
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo test --locked --lib

simulate: ## Simulate SEEDS histories (a million by default)
	SEEDS=$(SEEDS) cargo test --locked --release --test simulation -- --nocapture no_history

simulate-program: ## Simulate SEEDS histories of the whole program over a simulated network (10,000 by default)
	SEEDS=$(PROGRAM_SEEDS) cargo test --locked --release --package drowse-network --test network -- --nocapture no_history

bursts: ## Send bursts of messages to agents that fall asleep CYCLES times (200 by default), and count them
	DROWSE_CYCLES=$(CYCLES) cargo test --locked --test it -- --nocapture nats::hand_over::bursts

chaos: ## Kill and freeze replicas, the API server, etcd and NATS under load, and count what becomes of each request (root)
	@scripts/chaos

fuzz: ## Feed everything that reads bytes of strangers with made-up ones, each for a minute
	@scripts/fuzz 60

bench: ## Measure Drowse on this machine: beside nginx, haproxy and bare hyper, waking, and in a storm
	@scripts/bench

bench-abuse: ## Measure what honest callers notice while others abuse the front door
	cargo build --locked --release --package drowse --package drowse-loadtest
	cargo run --locked --release --quiet --package drowse-loadtest -- abuse

bench-messages: ## Measure what Drowse costs messages over NATS, and 10,000 sleeping agents (Go)
	cargo build --locked --release --package drowse --package drowse-loadtest
	cargo run --locked --release --quiet --package drowse-loadtest -- messages
	cargo run --locked --release --quiet --package drowse-loadtest -- sleepers

bench-core: ## Measure the parts of the core, each by itself, and a million agents
	cargo bench --locked --package drowse-benches --bench core
	cargo run --locked --release --quiet --package drowse-benches -- million

bench-instructions: ## Count instructions, also of a warm request, and compare with what is committed (RENEW=1 writes that anew)
	@scripts/bench-instructions $(if $(RENEW),--renew)

bench-cluster: ## Measure what a caller of a sleeping Sandbox waits, on a real cluster (root)
	@scripts/bench-cluster wake

scale: ## Measure Drowse before 10,000 sleeping Sandboxes, and in storms of resumes
	@scripts/bench-cluster scale

scenario: ## Run the load test of FILE (loadtest/scenarios/churn.yaml by default); the report is in target/bench
	cargo build --locked --release --package drowse --package drowse-loadtest
	mkdir -p target/bench
	cargo run --locked --release --quiet --package drowse-loadtest -- run $(FILE) --html target/bench/$(basename $(notdir $(FILE))).html --json target/bench/$(basename $(notdir $(FILE))).json

image: ## Make an image of Drowse, without a container engine
	scripts/image

cluster: ## Start a Kubernetes cluster on this machine, with Agent Sandboxes and the image of Drowse (root)
	@scripts/cluster

cluster-down: ## End that cluster
	cargo run --locked --quiet --package drowse-cluster -- down

upstream-e2e: ## Run Agent Sandbox's own end-to-end tests on a real cluster, with Drowse beside them (root)
	@TESTS=$(TESTS) scripts/upstream-e2e

references: ## Write the generated references anew
	mkdir -p docs
	cargo run --locked --quiet -- schema > config/schema.json.new
	cargo run --locked --quiet -- schema --reference > config/reference.md.new
	cargo run --locked --quiet -- reference metrics > METRICS.md.new
	cargo run --locked --quiet -- reference cli > docs/cli.md.new
	for file in config/schema.json config/reference.md METRICS.md docs/cli.md; do mv $$file.new $$file; done
