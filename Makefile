# Needs only Python 3.11 or newer and make. Every target does its own set-up.
PYTHON ?= python3
BIN := .venv/bin

.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help setup dev demo test test-quick check bench lock clean machine

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup: ## Make .venv from the lock file and get OPA (other targets do this themselves)
	@$(PYTHON) dev/bootstrap.py
	@$(BIN)/python -m dev.opa >/dev/null

dev: setup ## Start everything on this machine: http://127.0.0.1:8420 (OIDC=1: with an identity provider to sign in at)
	@exec $(BIN)/python -m dev $(if $(OIDC),--oidc)

demo: setup ## Play the whole story in the terminal, then end
	@$(BIN)/python -m dev.demo

test: machine setup check ## Everything: lint, types, import rules, all tests in both profiles
	$(BIN)/python -m pytest

test-quick: setup ## Tests that need only Python and OPA (embedded profile), under a minute
	$(BIN)/python -m pytest -m "not production and not browser and not slow" -q

check: setup ## Format, lint, types and import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup ## Measure the gate against a null endpoint; prints a table, keeps bench/results.json and the table in docs/performance.md
	$(BIN)/python -m bench

lock: setup ## Resolve requirements.lock again (hashes, no download addresses)
	$(BIN)/uv pip compile --universal --generate-hashes --python-version 3.11 --all-extras --group dev --no-header \
	  --quiet pyproject.toml -o requirements.lock

clean: ## Remove the environment, the embedded profile's data and all caches
	rm -rf .venv .opsgate artifacts dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

machine:
	@$(PYTHON) dev/machine.py
