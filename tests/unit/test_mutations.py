"""The list of mutations that `make test-mutations` tries: what it takes to be there is there."""

from __future__ import annotations

from include.settings import PROJECT_ROOT
from scripts.mutation_check import mutations


def test_what_a_mutation_replaces_stands_once_in_its_file() -> None:
    found = {
        mutation.rule: (PROJECT_ROOT / mutation.file).read_text(encoding="utf-8").count(mutation.old)
        for mutation in mutations()
    }

    assert {rule: count for rule, count in found.items() if count != 1} == {}
    assert len(found) == len(mutations())


def test_the_test_file_that_is_run_first_is_there() -> None:
    named = {mutation.first for mutation in mutations() if mutation.first}

    assert {name for name in named if not (PROJECT_ROOT / name).is_file()} == set()
    assert named
