SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

PORT ?= 8080
ACTIVATE := . ./env.sh

.PHONY: help setup run report demo ui dbt-docs warehouse test test-quick test-containers test-deep test-mutations lint format manifest \
	lock upgrade release benchmark check-databricks expected docs clean

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: setup ## Run the DAG on the extracts in data/inputs and print a summary
	@$(ACTIVATE); python -m scripts.run

report: setup ## Open the newest quality report in a browser, or print its path
	@$(ACTIVATE); scripts/report.sh

demo: setup ## Play the three sample days, one after the other, in a scratch folder
	@$(ACTIVATE); python -m scripts.demo

ui: setup ## Start Airflow with its UI (PORT=8080)
	@$(ACTIVATE); PORT=$(PORT) scripts/ui.sh

dbt-docs: setup ## Write dbt's documentation for Airflow's UI, with the warehouse's current catalog
	@$(ACTIVATE); python -m include.dbt.docs

warehouse: setup ## Start a local SQL warehouse for DATABASE_TYPE=databricks (WAREHOUSE_PORT=8899)
	@$(ACTIVATE); exec python -m local_warehouse --folder data/warehouse --port $(or $(WAREHOUSE_PORT),8899) --print-env

test: setup ## Run the linters and every test except those of the containers
	@scripts/install_browser.sh
	@$(ACTIVATE); scripts/lint.sh && pytest -n 2 --dist loadfile --no-loadscope-reorder

test-quick: setup ## Run the tests that take less than ten seconds
	@scripts/install_browser.sh
	@$(ACTIVATE); pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-containers: setup ## Build, start and test docker-compose.yaml with docker or podman
	@$(ACTIVATE); pytest tests/containers

test-deep: setup ## Run new generated deliveries and crashes (MINUTES=30)
	@$(ACTIVATE); MINUTES=$(or $(MINUTES),30) scripts/test_deep.sh

test-mutations: setup ## Break the rules one at a time and check that a test fails
	@$(ACTIVATE); python -m scripts.mutation_check

lint: setup ## Check Python, SQL, YAML, Dockerfiles and compose files
	@$(ACTIVATE); scripts/lint.sh

format: setup ## Format Python and SQL
	@$(ACTIVATE); ruff check --fix . && ruff format . && sqlfluff fix --quiet dbt

manifest: .venv/.installed ## Build dbt's manifest, from which the DAG is rendered, if it is stale
	@$(ACTIVATE); python -m include.dbt.manifest

benchmark: setup ## Measure deliveries against a hand-written script, and write docs/performance.md (an hour)
	@$(ACTIVATE); python -m benchmarks.run --write

check-databricks: setup ## Check the privileges that the pipeline needs on Databricks, one by one
	@$(ACTIVATE); python -m scripts.check_databricks

expected: setup ## Write the expected tables of the sample days (tests/e2e/expected), after an intended change
	@$(ACTIVATE); python -m tests.support.expected

docs: setup ## Write the data dictionary, the list of tests, and the schema of the quality report
	@$(ACTIVATE); python -m scripts.data_dictionary && python -m scripts.data_quality_guide && python -m include.quality.report

COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	requirements.txt requirements-dev.in --output-file requirements.lock

lock: .venv/.installed ## Write requirements.lock from requirements.txt and requirements-dev.in
	@$(ACTIVATE); $(COMPILE)

upgrade: .venv/.installed ## Raise the versions in requirements.lock that requirements.txt leaves open
	@$(ACTIVATE); $(COMPILE) --upgrade

release: setup ## Check this commit, test it, and tag it with the version of pyproject.toml
	@$(ACTIVATE); python -m scripts.release --check
	@$(MAKE) test
	@$(ACTIVATE); python -m scripts.release

clean: ## Remove what set-up and runs have created, except the history in data/
	rm -rf .venv .airflow .pytest_cache .mypy_cache .ruff_cache .hypothesis dbt/target dbt/logs

setup: .venv/.installed manifest
	@$(ACTIVATE); scripts/migrate.sh

.venv/.installed: requirements.lock scripts/install.sh
	@scripts/install.sh
