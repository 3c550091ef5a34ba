# Everything a newcomer needs. The scripts behind the longer targets are in scripts/.

.DEFAULT_GOAL := help
.PHONY: help setup ui ui-maybe build run demo test test-cluster lint bench chaos release

# The page is put into the program: it is built before it.
.NOTPARALLEL:

GRID := target/release/grid
# More arguments for run, bench and chaos: make run ARGS="--workers 2"
ARGS ?=

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Find what is missing on this machine, and install it (Debian, Ubuntu, as root) or say how
	@scripts/setup.sh

ui: ## Build the web page (needs Node), which the next build puts into the program
	@scripts/ui.sh

build:
	@cargo build --release --locked

run: build ## Build and run everything in one process, on ./grid-data
	@$(GRID) standalone $(ARGS)

demo: ui-maybe build ## Run a job over real data, show the result, and keep serving (DEMO_ONCE=1: end afterwards)
	@scripts/demo.sh

ui-maybe:
	@scripts/ui.sh --maybe

test: ## Set up what is needed and run every test
	@scripts/test.sh

test-cluster: ## Install the chart into a real API server of Kubernetes, and upgrade it
	@scripts/test-cluster.sh $(ARGS)

lint: ## Check formatting, lints and scripts
	@cargo fmt --check
	@cargo clippy --release --locked --all-targets -- -D warnings
	@shellcheck scripts/*.sh docker/*.sh docker/postgres/*.sh .ci/run
	@scripts/ui.sh --check

bench: build ## Measure everything, or one thing: make bench ARGS="tasks --jobs 2"
	@scripts/bench.sh $(ARGS)

chaos: ## The long fault tests: kills without number
	@scripts/chaos.sh $(ARGS)

release: ui build ## Make the archives of a release, with checksums and bill of materials, and try them
	@scripts/release.sh $(ARGS)
