# Graven. `make run` on a fresh machine sets up everything it needs in .venv (once) and starts a demonstration.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run demo test check lint tamper matrix soak bench wheel lock clean set-up-run set-up-dev debian
export PYTHON
BIN := .venv/bin
PYTEST_ARGS ?=

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: set-up-run ## the tour on a sample log in ./graven-demo, then a server over it (LISTEN=HOST:PORT for another port)
	@exec $(BIN)/graven demo --dir ./graven-demo --serve $(if $(LISTEN),--listen $(LISTEN))

demo: set-up-run ## the same tour in a temporary directory, then the end
	@exec $(BIN)/graven demo

test: set-up-dev debian ## the tests, but for their long forms (PYTEST_ARGS='-k merkle' to choose)
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow" $(PYTEST_ARGS)

tamper: matrix soak ## the tamper matrix, then the long forms of the tests

matrix: set-up-dev debian ## attacks on a live log and on what people use today, one table (MATRIX_ARGS='--quick')
	$(BIN)/python -m tamper $(MATRIX_ARGS)

soak: set-up-dev debian ## the long forms of the tests: every byte flipped, every write a crash
	$(BIN)/python -m pytest -n auto -m "slow or hypothesis" --hypothesis-profile=search $(PYTEST_ARGS)

lint: set-up-dev ## style, types and import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

check: lint test ## what CI runs: lint, then the tests

bench: set-up-dev debian ## the table of speeds, as ratios to the bare floor (BENCH_ARGS='--seconds 2')
	@$(BIN)/python -m bench $(BENCH_ARGS)

wheel: set-up-dev ## the wheels, in dist/: graven, and the stand-alone verifier
	@$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --no-index -w dist . ./packaging/verify
	@ls dist/*.whl

lock: ## write the locks anew from pyproject.toml (needs uv; UPGRADE=1 for newer versions)
	@UV="$(UV)" UPGRADE="$(UPGRADE)" scripts/lock.sh

clean: ## remove what make built; logs such as ./graven-demo stay
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
	find src tests bench tamper lab -name __pycache__ -type d -prune -exec rm -rf {} +

set-up-run:
	@scripts/setup.sh run

set-up-dev:
	@scripts/setup.sh dev

debian:
	@scripts/apt.sh
