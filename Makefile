# Merilo: everything a newcomer needs is `make demo` and `make test`; both begin with `make setup`.
SHELL := /bin/bash
.DELETE_ON_ERROR:
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.merilo-$(shell cat pyproject.toml requirements/dev.txt 2>/dev/null | cksum | cut -d' ' -f1)

.PHONY: setup parts demo test test-unit test-long lint bench lock clean

setup: $(STAMP)

$(STAMP): pyproject.toml requirements/dev.txt
	@bash deploy/setup.sh "$(PYTHON)" "$(VENV)"
	@touch $@

parts: setup
	@bash deploy/parts.sh

demo: parts
	@$(BIN)/merilo demo $(ARGS)

test: parts
	@bash tests/run.sh

test-unit: setup
	@$(BIN)/pytest tests/unit -q -m "not long and not thorough"

test-long: parts
	@MERILO_LONG=1 bash tests/run.sh

lint: setup
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports

bench: parts
	@$(BIN)/python -m benchmarks $(ARGS)

# Needs uv on the PATH; writes pins with hashes and no index address.
lock:
	uv pip compile pyproject.toml --all-extras --group dev --generate-hashes --no-emit-index-url --no-header --python-version 3.11 -q -o requirements/dev.txt
	uv pip compile pyproject.toml --extra gateway --generate-hashes --no-emit-index-url --no-header --python-version 3.11 -q -o requirements/gateway.txt
	uv pip compile pyproject.toml --extra collector --extra api --generate-hashes --no-emit-index-url --no-header --python-version 3.11 -q -o requirements/server.txt

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
