# `make demo` and `make test` in a fresh clone; both set up .venv first.
PYTHON ?= python3

.PHONY: demo test
demo: .venv/installed
	.venv/bin/python tools/train.py

test: .venv/installed
	.venv/bin/python -m pytest

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch .venv/installed
