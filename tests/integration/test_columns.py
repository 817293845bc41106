"""Columns come and go: what the sender adds is kept, what the pipeline declares later is read from the archive, too."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from include.ingestion import IngestionError
from include.pipeline import deliver
from include.rebuild import rebuild
from include.settings import Settings
from tests.support.deliveries import CUSTOMERS_HEADER, day
from tests.support.project import add_column, use_copy
from tests.support.tables import NULL, Table, read_table, read_tables

pytestmark = pytest.mark.slow

Deliver = Callable[..., dict[str, Any]]


@pytest.fixture
def settings(engine: Settings) -> Settings:
    """Each engine in turn."""
    return engine


@pytest.fixture
def send(settings: Settings) -> Deliver:
    """Deliver accounts A (opened in 2020), B and C (nobody says when) of a day; return the report.

    `opened` is the header of the column that says when: none, where the file has no such column.
    """

    def send(number: int, opened: str | None = "OpenedDate", balance: str = "100.00") -> dict[str, Any]:
        settings.input_path.mkdir(exist_ok=True)
        (settings.input_path / "customers.csv").write_text(f"{CUSTOMERS_HEADER}\n1,Ada,yes\n")
        column = [opened, "2020-02-29", "", "n/a"] if opened else [""] * 4
        records = [
            "AccountID,CustomerID,Balance,AccountType",
            f"A,1,{balance},savings",
            "B,1,2,savings",
            "C,1,3,savings",
        ]
        lines = [f"{record},{value}" if opened else record for record, value in zip(records, column, strict=True)]
        (settings.input_path / "accounts.csv").write_text("\n".join(lines) + "\n")
        return json.loads(deliver(settings, logical_date=day(number), run_id=f"day_{number}").read_text())

    return send


@pytest.fixture
def declare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Declare OpenedDate, as the recipe for a new column does."""

    def declare(*, optional: bool = True) -> None:
        project = use_copy(tmp_path / f"declared_{optional}", monkeypatch)
        if not (project / "macros" / "entities.sql").read_text().count("opened_date"):
            add_column(project)
        sources = project / "models" / "source" / "_source.yml"
        sources.write_text(sources.read_text().replace("optional: true", f"optional: {str(optional).lower()}"))

    return declare


def opened(settings: Settings, table: str) -> list[tuple[str, ...]]:
    """Return account_id and opened_date of each row; of a snapshot also the days on which a version begins and ends."""
    names, *rows = read_table(settings, table)
    wanted = [name for name in ("account_id", "opened_date", "dbt_valid_from", "dbt_valid_to") if name in names]
    return sorted(tuple(row[names.index(name)][:10].removeprefix("2026-01-") for name in wanted) for row in rows)


def named(tables: dict[str, Table]) -> dict[str, list[list[tuple[str, str]]]]:
    """Return rows whose order of columns does not matter: a column that was added to a table comes last in it."""
    return {
        table: sorted(sorted(zip(header, row, strict=True)) for row in rows)
        for table, (header, *rows) in tables.items()
    }


def test_a_column_that_nobody_declared_is_landed_and_named_and_changes_nothing(
    settings: Settings, send: Deliver, caplog: pytest.LogCaptureFixture
) -> None:
    send(5, opened=None)
    before = read_tables(settings)

    with caplog.at_level(logging.WARNING, logger="include"):
        send(6)
        report = send(7)

    assert "accounts.csv has columns that the pipeline does not know: OpenedDate" in caplog.text
    assert report["unknown_columns"] == [
        {"file": "accounts", "column": "OpenedDate", "since": "2026-01-06T02:00:00.000000Z"}
    ]
    assert report["verdict"] == "warn"
    assert read_tables(settings) == before


def test_a_column_declared_later_is_read_from_now_on_and_makes_a_version_only_of_who_has_a_value(
    settings: Settings, send: Deliver, declare: Callable[..., None]
) -> None:
    send(5, opened=None)
    send(6)

    declare()
    report = send(7, balance="200.00")

    assert report["unknown_columns"] == []
    assert opened(settings, "account_summary") == [("A", "2020-02-29"), ("B", NULL), ("C", NULL)]
    assert opened(settings, "snap_account") == [
        ("A", "2020-02-29", "07", NULL), ("A", NULL, "05", "07"), ("B", NULL, "05", NULL), ("C", NULL, "05", NULL),
    ]  # fmt: skip

    send(8, opened=None, balance="200.00")
    assert opened(settings, "account_summary") == [("A", NULL), ("B", NULL), ("C", NULL)]


def test_a_rebuild_reads_what_was_landed_before_the_column_was_declared(
    settings: Settings, send: Deliver, declare: Callable[..., None]
) -> None:
    send(5, opened=None)
    send(6, opened=" openeddate ")
    declare()
    send(7)

    assert rebuild(settings) == 3

    assert opened(settings, "snap_account") == [
        ("A", "2020-02-29", "06", NULL), ("A", NULL, "05", "06"), ("B", NULL, "05", NULL), ("C", NULL, "05", NULL),
    ]  # fmt: skip
    rebuilt = read_tables(settings)
    send(8)
    assert read_tables(settings) == rebuilt


def test_a_column_required_from_now_on_is_missed_from_now_on(
    settings: Settings, send: Deliver, declare: Callable[..., None]
) -> None:
    send(5, opened=None)
    declare(optional=False)
    send(6)
    before = read_tables(settings)

    with pytest.raises(IngestionError, match=r"accounts\.csv: expected .*,OpenedDate, found .*: OpenedDate is missing"):
        send(7, opened=None)
    with pytest.raises(IngestionError, match=r"Is 'Eröffnet' the new name of OpenedDate\?"):
        send(7, opened="Eröffnet")

    assert read_tables(settings) == before
    assert rebuild(settings) == 2
    assert named(read_tables(settings)) == named(before)
    assert read_table(settings, "account_summary") == before["account_summary"], "the order of exports is the same, too"
