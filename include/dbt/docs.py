"""dbt's documentation of the project as one page. `python -m include.dbt.docs` writes it; Airflow's UI shows it.

dbt is imported when it is run. If the warehouse has tables, the page includes its catalog (columns, types, sizes) and
the compiled SQL. Otherwise, for example when an image is built, it has only what the project contains.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from include.dbt import runner
from include.dbt.manifest import current_manifest, load_manifest, target_dir
from include.dbt.runner import DbtFailed
from include.errors import one_line, run_command
from include.files import replacing
from include.settings import PROJECT_ROOT, Settings, load_settings
from include.warehouse import WarehouseError, open_warehouse

INDEX = "static_index.html"
FILES = ("manifest.json", "catalog.json", INDEX)
"""The page that Cosmos serves. It contains the other two files."""

_WITHOUT_WAREHOUSE = ["--empty-catalog", "--no-compile"]


def docs_dir() -> Path:
    """Return the folder of the documentation. env.sh and the Dockerfile pass it to Cosmos."""
    return target_dir() / "docs"


def write_docs(settings: Settings, *, catalog: bool) -> Path:
    """Write the documentation, with or without the warehouse's catalog; return the page's path.

    Readers see either the old page or the new one. Raises DbtFailed, which leaves the old page.
    """
    command = ["docs", "generate", "--static", "--quiet", *([] if catalog else _WITHOUT_WAREHOUSE)]
    with tempfile.TemporaryDirectory() as folder:
        shutil.copyfile(current_manifest(settings), Path(folder, "manifest.json"))  # dbt writes it while compiling
        result = runner.invoke(settings.connected(), command, Path(folder), manifest=load_manifest(settings))
        if not result.success:
            raise DbtFailed(f"dbt {' '.join(command)} failed: {result.exception or 'see dbt/logs/dbt.log'}")
        for name in FILES:
            with replacing(docs_dir() / name) as temporary:
                shutil.copyfile(Path(folder, name), temporary)
    return docs_dir() / INDEX


def main(arguments: list[str] | None = None) -> int:
    """Write the documentation and print its path; return 0, or 1 with one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m include.dbt.docs", description=__doc__)
    parser.add_argument("--no-catalog", action="store_true", help="do not ask the warehouse")
    options = parser.parse_args(arguments)
    return run_command(lambda: _write_and_tell("on request" if options.no_catalog else None))


def _write_and_tell(without: str | None) -> None:
    """Write the documentation and print its path. `without` is the reason why the catalog is left out, if it is."""
    settings = load_settings()
    try:
        if without is None and not open_warehouse(settings).has_history():
            without = "it has no tables yet"
    except WarehouseError as error:
        without = one_line(error)
    path = write_docs(settings, catalog=without is None)
    shown = path.relative_to(PROJECT_ROOT) if path.is_relative_to(PROJECT_ROOT) else path
    print(f"dbt docs: {shown}" + (f" (without the warehouse's catalog: {without})" if without else ""))


if __name__ == "__main__":
    sys.exit(main())
