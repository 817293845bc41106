#!/usr/bin/env bash
# All static checks: Python, SQL, dbt's conventions, spelling, YAML, Dockerfiles, compose files, workflows.
set -euo pipefail
ruff check --quiet .
ruff format --check --quiet .
mypy
sqlfluff lint --processes 2 --nocolor dbt | tail -n 40
bouncer=$(COLUMNS=160 dbt-bouncer run --show-all-failures 2>&1) || { echo "$bouncer"; exit 1; }
codespell
yamllint --strict .
hadolint Dockerfile tests/support/containers/*.Dockerfile
check-jsonschema --quiet --builtin-schema vendor.compose-spec docker-compose.yaml docker-compose.override.yml
check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/ci.yml
check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
