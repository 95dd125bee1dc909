# Everything a developer or a build server calls. Needs Python 3.11 or newer (with venv) and make, nothing else.

PYTHON ?= python3
UV_VERSION := 0.13.9
PY := .venv/bin/python
READY := .venv/.ready
ARGS ?=
SEEDS ?= 5
TEMPLATES = $(shell find templates -name "*.html")
# The apps whose migrations are ours; migrations that make tables in SQL, which the linter reads as changes; and those that
# index tables within their transaction as they become what 1.0.0 begins with: nothing released has rows to be locked.
APPS := accounts apikeys approvals audit decision directory gateway groups notifications organization projects schedule spend tokens
NEW_TABLES := 0001_initial 0002_ledger 0003_touched 0004_minutes
BEFORE_ROWS := 0002_call_credentials 0002_request_group 0003_sessions_and_leavers 0004_orders_of_lists \
  0007_month_reports
# What the checks keep: a database of their own, away from the demo's.
CHECKS := build/checks

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup format demo test check lint types templates migrations deployable audit bench chaos clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## install what is needed into .venv

$(READY): pyproject.toml uv.lock
	@bash .ci/setup "$(PYTHON)" "$(UV_VERSION)"
	@touch $@

demo: $(READY) ## run the portal with sample data: make demo ARGS="--port 8123 --data-dir DIR"
	@exec $(PY) manage.py demo --with-parent $(ARGS)

test: $(READY) ## run the tests: make test ARGS="tests/demo -k name"
	@bash .ci/chromium
	@echo "== pytest"
	@$(PY) -m pytest $(ARGS)

check: lint types templates migrations deployable audit test ## everything a change must pass

format: $(READY) ## write code and templates the way the checks want them
	@$(PY) -m ruff check --fix-only --quiet .
	@$(PY) -m ruff format .
	@.venv/bin/djade --target-version 5.2 $(TEMPLATES)

lint: $(READY)
	@echo "== ruff"
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

types: $(READY)
	@echo "== mypy"
	@PORTAL_SECRET_KEY=types $(PY) -m mypy .

templates: $(READY)
	@echo "== djade, djlint"
	@.venv/bin/djade --target-version 5.2 --check $(TEMPLATES)
	@$(PY) -m djlint --lint --quiet $(TEMPLATES)

migrations: $(READY)
	@echo "== migrations"
	@$(PY) manage.py makemigrations --check --dry-run --data-dir $(CHECKS)
	@$(PY) manage.py lintmigrations --data-dir $(CHECKS) --settings tests.lint_settings --no-cache --quiet ok ignore \
	  --warnings-as-errors --include-apps $(APPS) --ignore-name $(NEW_TABLES) $(BEFORE_ROWS)

deployable: $(READY)
	@echo "== check --deploy"
	@$(PY) .ci/deployable.py

audit: $(READY)
	@echo "== pip-audit"
	@$(PY) .ci/audit.py

bench: $(READY) ## measure the paths that must be fast
	@$(PY) -m tests.bench $(ARGS)

chaos: $(READY) ## kill processes under load and compare the books: make chaos SEEDS=N
	@$(PY) -m tests.chaos --seeds $(SEEDS) $(ARGS)

clean: ## remove .venv and what the tools left; the data in var/ stays
	rm -rf .venv .venv-litellm build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
