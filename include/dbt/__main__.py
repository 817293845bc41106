"""Run dbt with the pipeline's settings, also those in .env: `python -m include.dbt ARGUMENTS OF dbt`."""

from __future__ import annotations

import os
import sys

from include.dbt.runner import DBT_DIR, environment_of_run
from include.errors import run_command
from include.settings import load_settings


def main() -> None:
    """Call dbt's own command line in dbt's folder; it exits with dbt's status."""
    os.environ.update(environment_of_run(load_settings().connected(), ""))
    os.chdir(DBT_DIR)
    from dbt.cli.main import cli

    cli(prog_name="dbt")


if __name__ == "__main__":
    sys.exit(run_command(main))
