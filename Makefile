# `make demo`, `make lint` and `make test` in a fresh clone; each sets up .venv first.
PYTHON ?= python3

.PHONY: demo lint test
demo: .venv/installed
	.venv/bin/python tools/train.py

lint: .venv/installed
	.venv/bin/python -m ruff check .
	.venv/bin/python -m mypy

test: .venv/installed
	.venv/bin/python -m pytest

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[test,lint]'
	touch .venv/installed
