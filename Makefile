# A table of contents: each target is one plain command. `make` lists them.
MODEL  ?=
PROMPT ?=
TOKENS ?=
PRESET ?= small

TARGETS := help setup sim test lint verilog bench-sim clean
.PHONY: $(TARGETS)
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

UNKNOWN := $(filter-out $(TARGETS) .venv/stamp,$(MAKECMDGOALS))
ifneq ($(UNKNOWN),)
$(error Unknown target '$(UNKNOWN)'. Targets: $(TARGETS))
endif

VENV := .venv
PY := $(VENV)/bin/python
PYTHON ?= $(firstword $(foreach p,python3 python3.14 python3.13 python3.12 python3.11,$(shell $p -c \
	'import sys; sys.version_info >= (3, 11) and print("$p")' 2>/dev/null)) python3)

export PROMPT

help:        ## show this list
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/stamp  ## make the virtual environment that every other target uses

sim: $(VENV)/stamp  ## write text on the simulated chip; PROMPT= TOKENS= PRESET= MODEL=
	@$(PY) -m scripts.sim --preset '$(PRESET)' $(if $(PROMPT),--prompt "$$PROMPT") \
		$(if $(TOKENS),--tokens '$(TOKENS)') $(if $(MODEL),--model '$(MODEL)')

test: $(VENV)/stamp  ## every test; ARGS= goes to pytest
	@$(PY) -m pytest $(ARGS)

lint: $(VENV)/stamp  ## style and formatting
	@$(PY) -m ruff check . && $(PY) -m ruff format --check .

verilog: $(VENV)/stamp  ## the chip as plain Verilog in build/; PRESET=
	@$(PY) -m scripts.verilog --preset '$(PRESET)'

bench-sim: $(VENV)/stamp  ## measure the simulation's speed
	@$(PY) -m scripts.bench_sim --preset '$(PRESET)'

clean:       ## remove what was built, keep the virtual environment
	rm -rf build .pytest_cache .ruff_cache

$(VENV)/stamp: pyproject.toml scripts/doctor.py
	@command -v $(PYTHON) >/dev/null || { \
		echo "python3 not found: install Python 3.11 or later (Debian: apt install python3-venv)"; exit 1; }
	@$(PYTHON) scripts/doctor.py
	@echo "Setting up $(VENV) (once, about a minute)"
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install -qq --disable-pip-version-check --editable '.[test]'
	@touch $@
