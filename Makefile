# Everything a person does here: make run, make test. Both install what they need first.
#
#   make run         start the demonstration in a 512 MB budget: four backends, and loads to try
#   make test        lint, types, docs and tests, as the continuous integration does
#   make test-cgroup2    the tests of memory limits in a virtual machine with cgroup v2
#   make before-after    the four backends as they were and on Tonnage, in 512 MB: RESULTS.md
#   make docs-site   the documentation as a site, in build/site; a broken link is an error
#   make package     build sdist and wheel in dist/, and try each extra in an environment of its own
#   make mutants     change what decides and what stores, a little at a time: does a test notice?
#   make coverage    what of the code the tests reach, in half an hour; below 95 % it fails
#   make bench       list the measurements, or run one: make bench WHAT="overload --seconds 10"
#
# Needed: Python 3.11 or later with its venv module, make; for all of the tests also Chromium (or
# Chrome), Prometheus, memory cgroups and, from Python 3.12 on, redis-server: what lacks them is
# skipped, or fails under CI=true. A C compiler only where a package has no wheel for the machine.

# The first Python that is new enough and can make an environment.
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	$$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
	2>/dev/null && echo $$python && break; done)
MEMORY ?= 512M
WHAT ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help install install-test install-bench model run demo test lint types docs docs-check \
	docs-site tests package test-cgroup2 coverage soak bench before-after lock clean \
	install-mutants mutants

help:
	@sed -n 's/^#   //p' Makefile

# -- set-up; a stamp is newer than the lock it was made from, so that a second run is instant

$(VENV)/made:
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or later with venv was found:" \
		"install one (Debian: python3 python3-venv), or name it with PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/installed: requirements/run.txt pyproject.toml | $(VENV)/made
	@echo "Installing into $(VENV), 400 MB: this takes half a minute or more."
	$(PIP) install --require-hashes --requirement requirements/run.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/installed-test: requirements/test.txt $(VENV)/installed
	$(PIP) install --require-hashes --requirement requirements/test.txt
	touch $@

$(VENV)/installed-bench: requirements/bench.txt $(VENV)/installed-test
	$(PIP) install --require-hashes --requirement requirements/bench.txt
	touch $@

$(VENV)/installed-mutants: requirements/mutants.txt $(VENV)/installed-test
	$(PIP) install --require-hashes --requirement requirements/mutants.txt
	touch $@

# By itself: a site is made without the code, and in any order.
$(VENV)/docs/installed: requirements/docs.txt | $(VENV)/made
	$(BIN)/python -m venv --without-pip $(VENV)/docs
	$(PIP) --python $(VENV)/docs install --require-hashes --requirement requirements/docs.txt
	touch $@

install: $(VENV)/installed model
install-test: $(VENV)/installed-test model
install-bench: $(VENV)/installed-bench model
install-mutants: $(VENV)/installed-mutants

# u2netp, with which backgrounds are removed, 4.4 MB; instant once it is there. Without a network
# only what needs it goes without, and why is said.
model: $(VENV)/installed
	@$(BIN)/tonnage models install >/dev/null || true

# -- use

run: demo

demo: install
	@echo "Starting four backends behind one server; then open what is called app below." \
		"Another port: make run TONNAGE_PORT=8080"
	$(BIN)/python -m examples.demo --memory $(MEMORY)

bench: install-bench
	$(BIN)/python -m benchmarks $(WHAT)

# An hour, as root; WHAT="--runs 1 --seconds 10" for a look.
before-after: install-bench
	$(BIN)/python -m benchmarks beforeafter $(WHAT)
	$(BIN)/python -m benchmarks report

# -- checks

test: install-test
	scripts/test $(BIN)/python

lint: install-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install-test
	$(BIN)/mypy
	for each in examples/*/naive.py; do $(BIN)/mypy $$each || exit 1; done

docs-check: install-test
	$(BIN)/python scripts/make_options_page.py --check
	$(BIN)/python scripts/make_api_pages.py --check
	$(BIN)/python scripts/make_licences_page.py --check

# What is there already is made anew, so that no page stays that is gone.
docs-site: $(VENV)/docs/installed
	rm -rf build/site
	$(VENV)/docs/bin/python -m sphinx --fail-on-warning --keep-going --nitpicky --quiet \
		--conf-dir docs/site --doctree-dir build/site/.doctrees . build/site
	rm -rf build/site/.doctrees build/site/.buildinfo
	@echo "build/site/index.html"

tests: install-test
	scripts/test $(BIN)/python tests

# Skips itself, with the reason, where there is no emulator or no kernel to boot; not under CI=true.
test-cgroup2: install-test
	$(BIN)/python -m tests.vm

# What is measured with nothing beside it would measure the tracer. A failed test still counts lines.
coverage: install-test
	$(BIN)/python -m coverage erase
	-$(BIN)/python -m coverage run -m pytest -m "not real and not soak"
	-$(BIN)/python -m coverage run -m pytest -m "real and not alone and not timed and not soak" \
		--numprocesses 3 --dist loadfile
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

# Half an hour or more; WHAT="tonnage.budget.*" for a part. Stopped, it goes on from there. In the end
# how many there are of each module; .venv/bin/mutmut results names them, mutmut show NAME has one.
mutants: install-mutants
	$(BIN)/mutmut run --max-children 1 $(WHAT)
	@$(BIN)/mutmut results --all true | sed -E 's/^ *(.*)\.x.*: /\1 /' | sort | uniq -c

# Minutes, and a network. The files are the same whoever builds them of the same source.
package: install-test
	$(BIN)/python -m hatchling build --clean --directory dist
	$(BIN)/python -m pytest -m soak tests/package

soak: install-test
	$(BIN)/python -m pytest -m soak

# -- upkeep

docs: install-test
	$(BIN)/python scripts/make_options_page.py
	$(BIN)/python scripts/make_api_pages.py
	$(BIN)/python scripts/make_licences_page.py

lock:
	scripts/lock

clean:
	rm -rf $(VENV) .vm .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* build dist \
		mutants
	find src tests scripts examples benchmarks -name __pycache__ -prune -exec rm -rf {} +
