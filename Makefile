# Two environments, because their dependencies cannot share one: .venv runs the server on numpy 2, .venv-triton
# runs Triton's Python models on numpy 1. A stamp file records what each was built from, so a second run is quick.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TRITON_VENV := .venv-triton
STATE ?= var
# Fetches side by side what pip fetches one after the other; its own version is pinned by hash, too.
UV_INSTALL := $(BIN)/uv pip install --quiet --require-hashes
export RA_GUARD_STATE_DIR ?= $(STATE)
export RA_GUARD_TRITON__PYTHON ?= $(CURDIR)/$(TRITON_VENV)/bin/python

RUST_SOURCES := Cargo.toml Cargo.lock $(shell find rust_core/core rust_core/py -name '*.rs' -o -name '*.toml' -o -name '*.md' -o -name '*.txt')

.PHONY: help setup demo serve test test-rust test-python lint bench bench-quick proto clean

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(VENV)/.core $(TRITON_VENV)/.installed $(STATE)/models/.built ## both environments, the core, the demo models

$(VENV)/.installed: server/requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes --requirement server/bootstrap.lock
	$(UV_INSTALL) --python $(BIN)/python --requirement server/requirements.lock
	touch $@

# The package is installed in place: edits of Python need no rebuild.
$(VENV)/.core: $(VENV)/.installed pyproject.toml $(RUST_SOURCES)
	$(BIN)/maturin develop --uv --release --locked --quiet
	touch $@

# Without dependencies: the lock is complete, less what no model imports (triton_models/overrides.txt says what).
$(TRITON_VENV)/.installed: triton_models/requirements.lock $(VENV)/.installed
	test -x $(TRITON_VENV)/bin/python || $(PYTHON) -m venv $(TRITON_VENV)
	$(UV_INSTALL) --python $(TRITON_VENV)/bin/python --no-deps --requirement triton_models/requirements.lock
	touch $@

$(STATE)/models/.built: $(VENV)/.core $(TRITON_VENV)/.installed $(wildcard triton_models/*/* server/ra_guard/models/*.py)
	$(BIN)/ra-guard models build
	touch $@

demo: setup ## the product at work on real photographs; leaves nothing running
	$(BIN)/ra-guard demo

serve: setup ## Triton and the server with the demo gallery, until Ctrl-C
	$(BIN)/ra-guard serve --with-triton --with-photographs

test: setup test-rust test-python ## every test: Rust, Python, contract, integration with the real Triton

test-rust:
	cargo test --workspace --exclude ra-guard-py --locked --quiet

test-python: setup
	$(BIN)/pytest -m "not triton" --numprocesses auto --maxprocesses 4 --dist loadfile
	$(BIN)/pytest -m triton  # by themselves: a real Triton, its models and a load on it want all cores

lint: $(VENV)/.core ## formatting, types and the wire's rules
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/buf lint proto

bench: setup ## the table of targets, with what was reached (about ten minutes)
	$(BIN)/python -m bench.run

bench-quick: setup ## the same on a small gallery (about 2 minutes)
	$(BIN)/python -m bench.run --quick

proto: $(VENV)/.installed ## generates server/ra_guard/v1 from proto/
	$(BIN)/python -m grpc_tools.protoc -I proto --python_out=server --pyi_out=server proto/ra_guard/v1/*.proto

clean: ## forgets everything that was built or fetched
	rm -rf $(VENV) $(TRITON_VENV) $(STATE) target bench/out
