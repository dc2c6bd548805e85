# One language for people and CI. `make song` composes a piece, `make test` checks everything; both set up
# what they need from a bare Python 3.11+. Works in any folder, spaces in its path included.

SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMP := $(VENV)/.installed
STAMP_TEST := $(VENV)/.installed-test

# Everything that is written stays inside this folder.
export OTONOHA_CACHE ?= $(CURDIR)/.cache/otonoha
export MPLCONFIGDIR ?= $(CURDIR)/.cache/matplotlib
export PIP_CACHE_DIR ?= $(CURDIR)/.cache/pip

# Data for development may lie beside the project (see docs/data.md).
ifneq ($(wildcard ../shared/data),)
export OTONOHA_DATA ?= $(CURDIR)/../shared/data
endif

.PHONY: help song install test check unit test-slow test-e2e bench tables clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' Makefile | sed 's/:.*##/\t/' | expand -t 14

song: install ## compose a new piece: MIDI, sound and picture in songs/
	@$(BIN)/otonoha compose

install: $(STAMP) ## virtual environment and package

test: check unit ## everything that must pass

check: $(STAMP_TEST) ## style, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(STAMP_TEST) ## the tests
	$(BIN)/python -m pytest

test-slow: $(STAMP_TEST) ## the long tests
	$(BIN)/python -m pytest -m slow

test-e2e: $(STAMP_TEST) ## whole stories: fresh clone, browser
	$(BIN)/python -m pytest -m e2e

bench: bench-startup bench-render_speed bench-tokenize_speed bench-resume bench-lstm bench-duration bench-jsb16 bench-musegan bench-musegan_condition bench-musegan_seam bench-musegan_knobs bench-musegan_band bench-musegan_speed bench-decode_speed bench-codec_speed bench-codec_memory bench-codec bench-jukebox_speed bench-sung bench-sung_alignment bench-sound bench-jukebox_seams bench-jsb_quarter bench-jsb_harmonise bench-structure bench-transformer tables ## all tables (hours; each is bench-<table>)

bench-%: $(VENV)/.installed-bench ## one table of benchmarks/
	$(BIN)/python benchmarks/$*.py

tables: $(STAMP_TEST) ## put the measured tables into the documents
	$(BIN)/python benchmarks/render_docs.py

clean: ## remove what make has made (not songs/ and runs/)
	rm -rf $(VENV) .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "otonoha needs Python 3.11 or newer; $(PYTHON) is `$(PYTHON) --version 2>&1`. Try: make PYTHON=python3.12 song"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "Python's venv module is missing. On Debian and Ubuntu: sudo apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(STAMP): $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "installing PyTorch and the rest: some minutes, about 1.4 GB on disk"
	$(PIP) install --quiet -c constraints.txt -e '.[scores]'
	@touch $(STAMP)

$(STAMP_TEST): $(STAMP)
	$(PIP) install --quiet -c constraints.txt -e '.[scores,soundfont,singing,test]'
	@touch $(STAMP_TEST)

$(VENV)/.installed-bench: $(STAMP_TEST)
	$(PIP) install --quiet -c constraints.txt -e '.[scores,soundfont,singing,test,bench]'
	@touch $@
