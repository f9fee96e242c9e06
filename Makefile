# Two commands matter:  make course  runs every lesson;  make test  runs every test.
# Without make (Windows): python course_lib/environment.py, then .venv\Scripts\course --help — the targets but lint and clean exist there; course is `course run`.

PYTHON ?= $(shell command -v python3 || command -v python)
COURSE := .venv/bin/course
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup course test test-oldest lab site notebooks bench lint doctor clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## *' '{printf "  make %-12s %s\n", $$1, $$2}'

setup:  ## create .venv, once
	@$(PYTHON) course_lib/environment.py

course: setup  ## run every lesson at preset cpu; results and pages in runs/course/
	@$(COURSE) run $(ARGS)

test: setup  ## the whole test suite, notebooks included
	@$(COURSE) test $(ARGS)

test-oldest:  ## the test suite on the oldest supported versions
	@$(PYTHON) course_lib/environment.py --venv .venv-oldest --constraints constraints-oldest.txt
	@.venv-oldest/bin/course test $(ARGS)

lab: setup  ## open JupyterLab on your own copies of the notebooks, in my/
	@$(COURSE) lab $(ARGS)

site: setup  ## build the web site of the course in docs/_build/html
	@$(COURSE) site $(ARGS)

notebooks: setup  ## derive the notebooks from notebooks/source and execute what changed
	@$(COURSE) notebooks $(ARGS)

bench: setup  ## measure speed and memory; results in benchmarks/results
	@$(COURSE) bench $(ARGS)

lint: setup  ## style and types
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy

doctor: setup  ## what this machine has, what is missing, how to fix it
	@$(COURSE) doctor

clean:  ## remove what runs produced (never my/)
	rm -rf runs docs/_build docs/notebooks docs/api .pytest_cache .ruff_cache .mypy_cache
