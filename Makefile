# make help lists what there is. Everything runs in .venv, made from the lock files.

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.complete
LOCKS := requirements.lock requirements-dev.lock
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help demo test random-jobs faults bench bench-micro bench-peers bench-scaling bench-canaries canary-study check venv lock clean
.DEFAULT_GOAL := help

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: venv ## watch a small shop have an incident: make demo ARGS="--headless"
	@$(BIN)/burngate demo $(ARGS)

test: check ## check, then run the test suite: make test ARGS="-k kafka"
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile $(ARGS)

random-jobs: venv ## 2,000 random jobs, and the seeds that fail: make random-jobs ARGS="--seed 9000"
	@$(BIN)/python tests/random_jobs/long_run.py $(ARGS)

test-without-broker: venv ## on another Python: make test-without-broker VENV=.venv-3.13 PYTHON=python3.13
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile -m "not broker" $(ARGS)

faults: venv ## a hundred faults over two million events: make faults ARGS="--seed 2"
	@$(BIN)/python tests/faults/long_run.py $(ARGS)

bench: venv ## every figure of docs/performance.md: make bench ARGS="--only whole,stalls"
	@$(BIN)/python -m benchmarks $(ARGS)

bench-micro: venv ## each step by itself, held to ratios: make bench-micro ARGS="-k digest"
	@$(BIN)/python -m pytest benchmarks/micro -s --benchmark-columns=min,median,rounds $(ARGS)

bench-peers: venv ## the same job on Flink, Kafka Streams and others: make bench-peers ARGS="--only flink,bytewax"
	@$(BIN)/python -m benchmarks.peers $(ARGS)

bench-scaling: venv ## stage two under the partials of 64 workers: make bench-scaling ARGS="--keyed"
	@$(BIN)/python -m benchmarks.scaling $(ARGS)

bench-canaries: venv ## 1,000 canary analyses at once, a look each 10 s
	@$(BIN)/python -m benchmarks.canary_cost $(ARGS)

canary-study: venv ## how often canary verdicts are wrong, what they find: make canary-study ARGS="--quick"
	@$(BIN)/python -m benchmarks.canary_study $(ARGS)

check: venv ## lint, formatting, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

venv: ## make .venv, or bring it up to date
	@test ! -e $(STAMP) || $(BIN)/python -c '' 2>/dev/null || rm -f $(STAMP)
	@$(MAKE) --no-print-directory --silent $(STAMP)

$(STAMP): $(LOCKS) pyproject.toml setup.py stream/wire/_scan.pyx
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed, and $(PYTHON) is $$($(PYTHON) --version 2>&1 || true)." >&2; \
	  echo "Name another one: make PYTHON=python3.12" >&2; exit 1; }
	@echo "setting up $(VENV) (once, and when the lock files change)" >&2
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || { \
	  echo "$(PYTHON) cannot make virtual environments: install its venv module," >&2; \
	  echo "on Debian and Ubuntu with: apt-get install python3-venv" >&2; rm -rf $(VENV); exit 1; }
	@$(PIP) install --quiet --require-hashes -r requirements-dev.lock
	@PYTHONWARNINGS=ignore $(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

lock: ## resolve the dependencies of pyproject.toml anew
	@$(PYTHON) -m venv $(VENV)-lock
	@$(VENV)-lock/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'
	@$(VENV)-lock/bin/uv pip compile $(LOCK_OPTIONS) pyproject.toml --output-file requirements.lock
	@printf 'setuptools>=77\ncython>=3.1\n' | $(VENV)-lock/bin/uv pip compile $(LOCK_OPTIONS) pyproject.toml - \
	  --extra local --extra dev --constraint requirements.lock --output-file requirements-dev.lock
	@rm -rf $(VENV)-lock

LOCK_OPTIONS := --universal --python-version 3.11 --generate-hashes --upgrade --quiet \
  --no-emit-index-url --no-annotate --custom-compile-command "make lock"

clean: ## remove .venv and everything made by tools
	rm -rf $(VENV) $(VENV)-lock .venv-3.* build dist *.egg-info stream/wire/_scan.c stream/wire/_scan.*.so .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
