# Two commands for a newcomer: `make demo` and `make test`. Both set themselves up.

PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11 python,\
	$(if $(shell $(name) -c 'import sys; print(sys.version_info >= (3, 11) or "")' 2>/dev/null),$(name))))
VENV := .venv
PY := $(VENV)/bin/python
WORKBENCH := $(VENV)/bin/workbench
PIP_INSTALL := $(PY) -m pip install --disable-pip-version-check -c constraints.txt
STAMP := $(VENV)/.setup-stamp
DEV_STAMP := $(VENV)/.setup-dev-stamp
STUDIES_STAMP := $(VENV)/.setup-studies-stamp

# Threads that spin while they wait slow each other down where the cores are shared.
export OMP_WAIT_POLICY ?= passive

.DELETE_ON_ERROR:
STUDIES := $(patsubst benchmarks/studies/%/study.toml,study-%,$(wildcard benchmarks/studies/*/study.toml))

.PHONY: help demo test check format bench stress clean $(STUDIES)

help:
	@echo 'make demo    train three small networks, compare how they break, write a report (about four minutes)'
	@echo 'make test    the whole test suite'
	@echo 'make check   ruff, mypy, and the import contracts'
	@echo 'make format  let ruff format the code'
	@echo 'make bench   speed against other libraries, both sides from one run'
	@echo 'make stress  kill attacks at random moments and compare the records'
	@echo 'make study-s2  a study on real data, about half an hour; SCALE=gpu, DATA=DIR; also s0, s1, s3, s4'
	@echo 'make clean   remove .venv and caches; runs/ is left alone'

# A stamp stands for one finished installation. It is made last, is out of date as soon as what is
# to be installed has changed, and goes away with the environment that it lies in.
$(STAMP): pyproject.toml constraints.txt | $(PY)
	$(PIP_INSTALL) -e .
	@touch $@

$(DEV_STAMP): pyproject.toml constraints.txt | $(PY)
	$(PIP_INSTALL) -e '.[dev]'
	@touch $@ $(STAMP)

$(STUDIES_STAMP): pyproject.toml constraints.txt | $(PY)
	$(PIP_INSTALL) -e '.[studies]'
	@touch $@ $(STAMP)

# Only asked for, never compared by date: an interpreter's date does not tell what is installed.
$(PY):
	@test -n "$(PYTHON)" || { echo 'Needs Python 3.11 or newer: make PYTHON=/path/to/python3' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

demo: $(STAMP)
	@sh examples/demo.sh $(WORKBENCH)

# A worker for each core. One that has nothing left takes tests from the end of another's list, so
# the tests of a file mostly stay together, and with them what they share.
test: $(DEV_STAMP)
	$(PY) -m pytest -n auto --maxprocesses 8 --dist worksteal

check: $(DEV_STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: $(DEV_STAMP)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

$(STUDIES): study-%: $(STUDIES_STAMP)
	$(WORKBENCH) study $* $(if $(SCALE),--scale $(SCALE)) $(foreach folder,$(DATA),--data $(folder))

bench: $(DEV_STAMP)
	$(PY) benchmarks/speed/all.py

stress: $(DEV_STAMP)
	$(PY) tests/stress_kills.py

clean:
	rm -rf $(VENV) build dist *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
