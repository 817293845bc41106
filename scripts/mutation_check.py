"""Break the pipeline's rules one at a time and check that a test fails: `make test-mutations`.

Each mutation is made in a clone of HEAD, never here. Prints a line for each: the rule, and the test that found it.
Exits with 1 if one was not found.
"""

from __future__ import annotations

import os
import queue
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml

from include.settings import PROJECT_ROOT

LIST = PROJECT_ROOT / "tests" / "mutations.yml"

STAGES: tuple[tuple[str, ...], ...] = (
    ("tests/integration/test_dbt_commands.py::test_the_first_build_runs_everything_unit_tests_included",),
    ("tests/integration/test_ingestion.py", "tests/integration/test_deliveries.py"),
    ("tests/integration/test_generated_deliveries.py", "tests/integration/test_large_and_odd.py"),
    ("tests/integration/test_the_past.py", "tests/integration/test_preview.py"),
    ("tests/e2e/test_sample_days.py",),
    ("tests/unit/test_wait_for_turn.py", "tests/integration/test_concurrency.py", "tests/dags"),
    ("tests",),
)
"""The whole suite, most effective tests first. A stage runs only if the stages before it have found nothing."""


@dataclass(frozen=True)
class Mutation:
    """A rule, and how it is broken: `old`, which occurs once in the file, becomes `new`.

    `first` is a test file that is likely to fail. It is run before the stages, most of which would take minutes.
    """

    rule: str
    file: str
    old: str
    new: str
    first: str = ""


def mutations() -> list[Mutation]:
    """Read tests/mutations.yml."""
    return [Mutation(**mutation) for mutation in yaml.safe_load(LIST.read_text(encoding="utf-8"))]


def main(names: Sequence[str]) -> int:
    """Try the mutations whose rule contains one of `names`, or all; return 1 if one was not found."""
    chosen = [mutation for mutation in mutations() if not names or any(name in mutation.rule for name in names)]
    with tempfile.TemporaryDirectory(prefix="lc_mutations.") as folder:
        clones: queue.Queue[Path] = queue.Queue()
        workers = os.cpu_count() or 1
        for number in range(workers):
            clone = Path(folder, str(number), "main")
            _git(PROJECT_ROOT, "clone", "--quiet", str(PROJECT_ROOT), str(clone))
            _run(clone, "airflow", "db", "migrate").check_returncode()
            clones.put(clone)

        def attempt(mutation: Mutation) -> str | None:
            clone = clones.get()
            try:
                return found_by(mutation, clone)
            finally:
                _git(clone, "checkout", "--quiet", ".")
                clones.put(clone)

        with ThreadPoolExecutor(workers) as pool:
            found = list(pool.map(attempt, chosen))
    print(f"{len(found) - found.count(None)} of {len(found)} broken rules were found")
    return int(None in found)


def found_by(mutation: Mutation, clone: Path) -> str | None:
    """Make a mutation in a clone; return the first test that fails, or None if all pass."""
    path = clone / mutation.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        raise ValueError(f"{mutation.file} has {text.count(mutation.old)} times, not once: {mutation.old}")
    path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    if _run(clone, sys.executable, "-m", "include.dbt.manifest").returncode:
        return _printed(mutation, "dbt parse")
    # tests/unit/test_mutations.py would find every mutation, since `old` is gone.
    options = ("-x", "--quiet", "-p", "no:cacheprovider", "--deselect", "tests/unit/test_mutations.py")
    for stage in ((mutation.first,), *STAGES) if mutation.first else STAGES:
        ended = _run(clone, "pytest", *options, *stage)
        if ended.returncode:
            failure = re.search(r"^(?:FAILED|ERROR) (\S+)", ended.stdout, re.MULTILINE)
            return _printed(mutation, failure[1] if failure else f"pytest {' '.join(stage)}")
    return _printed(mutation, None)


def _printed(mutation: Mutation, test: str | None) -> str | None:
    print(f"{mutation.rule}: {f'found by {test}' if test else 'NOT FOUND'}", flush=True)
    return test


def _run(clone: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(clone), "AIRFLOW_HOME": str(clone / ".airflow")}
    for name in ("DAGS", "PLUGINS"):
        environment[f"AIRFLOW__CORE__{name}_FOLDER"] = str(clone / name.lower())
    return subprocess.run(
        command, cwd=clone, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def _git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
