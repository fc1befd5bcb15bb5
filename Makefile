# Two commands matter: `make demo` opens the app on a sample, `make test` runs every check.
# Both set up .venv by themselves; `make PYTHON=python3.12 test` chooses the interpreter.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
    "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$p"; break; }; done)
# Processes for the tests: more than two were not tried, and each needs about a gigabyte with its app or browser.
WORKERS ?= $(shell "$(PYTHON)" -c 'import os; print(min(2, os.cpu_count() or 1))' 2>/dev/null || echo 1)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo app test lint bench screenshots clean
.DEFAULT_GOAL := demo

demo: .venv/.installed  ## open the app on a sample network
	$(BIN)/quantscope demo

app: .venv/.installed  ## open the app without a model
	$(BIN)/quantscope app

# All checks run even if one fails, so that a single run tells everything; pytest's summary comes last. Quick tests
# run first, and alone with `pytest -m "not slow and not browser"`. One thread for matrix products: the workers are
# as many as the processors.
test: .venv/.installed-test  ## lint, types, unit tests and browser tests
	@failed=; \
	echo "ruff check ."; $(BIN)/ruff check --output-format=concise . || failed="$$failed ruff"; \
	echo "mypy"; $(BIN)/python tests/check_types.py || failed="$$failed mypy"; \
	echo "pytest"; OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --durations=25 \
	    || failed="$$failed pytest"; \
	test -z "$$failed" || { echo "failed:$$failed" >&2; exit 1; }

lint: .venv/.installed-test
	$(BIN)/ruff check .
	$(BIN)/python tests/check_types.py

bench: .venv/.installed-bench  ## measure speed and quality against other tools
	for file in benchmarks/bench_*.py; do $(BIN)/python -m benchmarks.$$(basename $$file .py) || exit 1; done

screenshots: .venv/.installed-test  ## take the README's pictures anew, with the system's Chromium
	$(BIN)/python -m tests.pictures

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache

.venv/.python:
	@test -n "$(PYTHON)" || { echo "QuantScope needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "QuantScope needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	@touch $@

# A stamp a set of packages: nothing is installed again until pyproject.toml changes.
.venv/.installed: .venv/.python pyproject.toml
	@echo "Installing QuantScope into .venv (a minute or two, once)"
	$(PIP) install --quiet --editable .
	@echo "Compiling the numeric kernels (seconds, once)"
	-@$(BIN)/quantscope quantize sample_data/digits_mobilenet.onnx --random 2 --method auto --report --no-cache \
	    -o .venv/warm.onnx >/dev/null 2>&1
	@touch $@

.venv/.installed-test: .venv/.python pyproject.toml
	@echo "Installing QuantScope and its test tools into .venv (a minute or two, once)"
	$(PIP) install --quiet --editable '.[test]'
	@touch $@ .venv/.installed

.venv/.installed-bench: .venv/.python pyproject.toml
	$(PIP) install --quiet --editable '.[bench]'
	@touch $@ .venv/.installed
