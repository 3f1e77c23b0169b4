# `make` lists the targets. CI runs `make check`'s parts, so what passes here passes there.
.DEFAULT_GOAL := help
PORT ?= 8000
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
LOCK := requirements.lock
MOCK := tests/mock_server/node_modules/.installed
.PHONY: help run test check format lint types arch shape migrations setup setup-dev mock-server lock bench clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

# --- Environment: made once, and again when what is needed changes -------------------------------------
$(VENV)/.installed: $(LOCK)
	@echo "1/3 making the environment in $(VENV)"
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@echo "2/3 installing dependencies (about a minute, or seconds when they are cached)"
	@$(PY) -m pip install --disable-pip-version-check --quiet --require-hashes --requirement $(LOCK)
	@touch $@
	@echo "3/3 environment ready"

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	@echo "installing the tools for tests"
	@$(PY) -m pip install --disable-pip-version-check --quiet --require-hashes --requirement requirements-dev.lock
	@touch $@

setup: $(VENV)/.installed  ## make the environment

setup-dev: $(VENV)/.installed-dev

# Needed by tests/v1/test_mock_server.py alone, which is skipped without it, so a machine without node tests the rest.
mock-server:  ## the mock of every provider that others wrote, where npm is there
	@$(MAKE) --no-print-directory $(MOCK) || echo "no mock server: its tests are skipped"

$(MOCK): tests/mock_server/package-lock.json
	@command -v npm >/dev/null || { echo "npm is not there"; exit 1; }
	@npm ci --prefix tests/mock_server --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

# --- Use ----------------------------------------------------------------------------------------------
run: setup  ## serve the web UI and /v1 at http://127.0.0.1:8000 (PORT= for another), with a furnished demo
	@$(PY) manage.py migrate --verbosity 0
	@$(PY) manage.py demo --port $(PORT)
	@exec $(PY) manage.py serve --port $(PORT)

test: setup-dev mock-server  ## the whole test suite; with DATABASE_URL and REDIS_URL set, on those
	@$(PY) -m pytest -n auto --dist loadfile

# --- Keep the house in order --------------------------------------------------------------------------
format: setup-dev  ## format the code
	@$(PY) -m ruff format . && $(PY) -m ruff check --fix .

lint: setup-dev
	@$(PY) -m ruff format --check . && $(PY) -m ruff check .

types: setup-dev
	@$(PY) -m mypy .

arch: setup-dev  ## do imports still run one way?
	@PYTHONPATH=. $(VENV)/bin/lint-imports --no-logo

migrations: setup-dev
	@$(PY) manage.py makemigrations --check --dry-run

check: lint types arch migrations test  ## all that must hold before a change is merged

lock:  ## resolve the dependencies anew, with hashes
	@uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header pyproject.toml -o $(LOCK)
	@uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --group dev --constraint $(LOCK) -o requirements-dev.lock

bench: setup-dev  ## measure, against nginx, in one run
	@$(PY) -m bench

clean:  ## forget the environment and the demo's data
	@rm -rf $(VENV) var
