# The only door. `make help` lists every target from its ## comment.
# A target runs in .venv, which `setup` builds once from requirements/dev.lock (hashes, wheels only).

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
STAMP := $(VENV)/.ready

export PATH := $(CURDIR)/$(BIN):$(CURDIR)/.tools/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
# Modules are compiled once, not at every one of the thousands of starts that the tests make.
unexport PYTHONDONTWRITEBYTECODE

# The first Python on PATH that is 3.11 or newer and can make virtual environments;
# `make setup PYTHON=/path/to/python3` chooses another.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
	>/dev/null 2>&1 && { echo "$$p"; break; }; done)
# With none, any Python can still run the doctor, which says what is missing.
ANY_PYTHON := $(or $(PYTHON),$(shell command -v python3 || echo python3))

# Test workers: one more than there are cores, because tests wait for processes and for disks.
WORKERS = $(shell $(ANY_PYTHON) -c 'import os; print(min(4, 1 + os.cpu_count()))')

PROTOS := $(sort $(wildcard protos/fairlead/v1/*.proto))
PROTOC = $(PY) -m grpc_tools.protoc -Iprotos --python_out=$(1) --grpc_python_out=$(1) \
	--mypy_out=quiet:$(1) --mypy_grpc_out=quiet:$(1) $(PROTOS)
UV_LOCK = uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock" \
	--quiet $(UPGRADE)

.PHONY: help doctor setup demo demo-up demo-down test attacks faults fuzz check proto policies tools \
	test-opa certs bench-gateway bench-node bench-blind bench-publication bench-policy bench-audit \
	bench-statistics lock clean

help: ## list every target
	@echo "Fairlead: make TARGET"; echo
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  %-18s %s\n", $$1, $$2 }' Makefile

doctor: ## name every missing system package and the command that installs it
	@command -v $(ANY_PYTHON) >/dev/null || { echo "doctor: no Python at all" \
		"(next: apt-get install python3 python3-venv)" >&2; exit 1; }
	@$(ANY_PYTHON) tools/doctor.py $(DOCTOR)

setup: $(STAMP) ## build .venv from the lock file (done once, again when the lock changes)

$(STAMP): requirements/dev.lock pyproject.toml
	@$(MAKE) doctor DOCTOR=--quiet
	@echo "setup: building $(VENV) with $(PYTHON)" >&2
	@test -x $(PY) || rm -rf $(VENV)
	@"$(PYTHON)" -m venv $(VENV)
	@$(PY) -m pip install --quiet --only-binary :all: --require-hashes -r requirements/dev.lock
	@$(PY) -m pip install --quiet --no-deps --no-build-isolation --no-index -e .
	@touch $@

demo: $(STAMP) ## six partners, one question, their answers, all stopped (ARGS="--records N")
	@$(PY) -m demo.run $(ARGS)

demo-up: $(STAMP) ## start the demo's federation and leave it running
	@$(PY) -m demo.run --up $(ARGS)

demo-down: $(STAMP) ## stop what demo-up started
	@$(PY) -m demo.run --down

test: $(STAMP) ## every test that needs no tool beyond Python (ARGS="-k name" to choose)
ifeq ($(strip $(ARGS)),)
	@$(PY) -m pytest -q -n $(WORKERS) --dist loadfile --ignore tests/scenarios tests
	@$(PY) -m pytest -q -n $(WORKERS) --dist loadfile -m 'not alone' tests/scenarios
	@$(PY) -m pytest -q -m alone tests/scenarios
else
	@$(PY) -m pytest -q $(ARGS)
endif

attacks: $(STAMP) ## every attack, then games of chance (ARGS="--trials N"); last line JSON
	@FAIRLEAD_EVERY_OCTET=1 $(PY) -m pytest -q tests/attacks
	@$(PY) -m tests.attacks.run $(ARGS)

faults: $(STAMP) ## the audit log under kills, failing calls, power cuts, forgery; last line JSON
	@$(PY) -m tests.faults.run $(ARGS)

fuzz: $(STAMP) ## fuzz every parser, guided by coverage (ARGS="--seconds 600 --target NAME")
	@$(PY) -m pip install --quiet --only-binary :all: --require-hashes -r requirements/fuzz.lock
	@$(PY) -m tests.fuzz.run $(ARGS)

check: $(STAMP) ## style, types, import floors, wire contract, stubs, locks, house rules
	@failed=; try() { echo "check: $$1" >&2; shift; "$$@" || failed=1; }; \
	fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; \
	same() { diff -r --exclude=__pycache__ --exclude=__init__.py "$$fresh/fairlead/v1" fairlead/v1 \
		|| { echo "check: the stubs are not what the protos say (next: make proto)" >&2; false; }; }; \
	try "ruff" ruff check --quiet .; \
	try "ruff format" ruff format --quiet --check .; \
	try "mypy" mypy --no-error-summary; \
	try "import floors" lint-imports --no-logo; \
	try "buf lint" buf lint protos; \
	try "protoc" $(call PROTOC,"$$fresh"); \
	try "generated stubs" same; \
	try "collection" $(PY) -m pytest -q --collect-only tests >/dev/null; \
	try "house rules" $(PY) -m pytest -q tests/test_house.py; \
	test -z "$$failed" || { echo "check: FAILED, see above" >&2; exit 1; }

proto: $(STAMP) ## regenerate fairlead/v1 from protos/ (commit the result)
	@$(call PROTOC,.)

policies: $(STAMP) ## rebuild policies/policy.wasm and the inputs' schemas (commit the result)
	@$(PY) tools/build_policies.py
	@$(PY) tools/policy_schemas.py

tools: $(STAMP) ## obtain the pinned OPA, grpcurl and helm into .tools/bin
	@$(PY) tools/get_opa.py
	@$(PY) tools/get_go_tools.py

test-opa: $(STAMP) ## rebuild the policies and compare; opa test; opa check --strict
	@$(PY) tools/test_opa.py

certs: $(STAMP) ## make development keys and certificates under certs/dev/out (never commit them)
	@$(PY) -m certs.dev.make

bench-gateway: $(STAMP) ## the gateway against a bare relay; the last line is one JSON object
	@$(PY) -m bench.gateway $(ARGS)

bench-node: $(STAMP) ## the owner's index at 10 M records; the last line is one JSON object
	@$(PY) -m bench.node $(ARGS)

bench-blind: $(STAMP) ## blind queries against openmined-psi and sealed ones (QUICK=1: small)
	@$(PY) -m bench.blind $(ARGS)

bench-publication: $(STAMP) ## publishing 1 M records, and a delta; the last line is one JSON object
	@$(PY) -m bench.publication $(ARGS)

bench-policy: $(STAMP) ## what a decision costs, in both engines (QUICK=1: small); last line JSON
	@$(PY) -m bench.policy $(ARGS)

bench-audit: $(STAMP) ## the audit log alone: commits, queries, proofs (QUICK=1: small); last line JSON
	@$(PY) -m bench.audit $(ARGS)

bench-statistics: $(STAMP) ## figures: attacks, sums, releases, a large source (QUICK=1: small); last line JSON
	@$(PY) -m bench.statistics $(ARGS)

lock: $(STAMP) ## refresh requirements/*.lock from pyproject.toml (UPGRADE=--upgrade for newer)
	@$(UV_LOCK) --group dev --output-file requirements/dev.lock
	@$(UV_LOCK) --constraints requirements/dev.lock --output-file requirements/run.lock
	@uv pip compile --group fuzz --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-annotate --no-header --quiet $(UPGRADE) \
		--output-file requirements/fuzz.lock

clean: ## remove .venv and every cache; keys and demo data stay
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache \
		.hypothesis build dist
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
