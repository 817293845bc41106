"""A crash leaves no trace: processes are killed, and what the next run makes is compared.

`make test-deep` kills at more moments, other ones each round.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.rebuild import rebuild
from include.settings import Settings
from tests.support.crashing import run_and_die
from tests.support.settings import settings_in
from tests.support.tables import read_tables
from tests.support.two_days import play

pytestmark = pytest.mark.slow

RANDOM = random.Random(int(os.environ.get("CRASH_SEED", "1")))
RANDOM_CRASHES = int(os.environ.get("RANDOM_CRASHES", "1"))


def all_that_was_made(settings: Settings) -> dict[str, Any]:
    """Return tables, exports, ledger and the names of all files, without what differs between runs."""
    folders = (settings.landing_path, settings.duckdb_path.parent, settings.output_path)
    names = {str(path.relative_to(folder.parent)) for folder in folders for path in folder.rglob("*") if path.is_file()}
    ledger = [json.loads(line) for line in (settings.landing_path / "ledger.jsonl").read_text().splitlines()]
    manifest = json.loads((settings.output_path / "manifest.json").read_text())
    return {
        **read_tables(settings),
        "names": sorted({re.sub(r"\.versions/\d+", ".versions/N", name) for name in names if ".lock" not in name}),
        "ledger": [entry | {"run_id": ""} for entry in ledger],
        "exports": manifest | {"run_id": ""},
        "sha256": {name: sha256((settings.output_path / name).read_bytes()) for name in manifest["files"]},
    }


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Reader(threading.Thread):
    """Reads the exports over and over, by their names alone, and notes what it should never see."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.folder = folder
        self.stopping = threading.Event()
        self.rounds = 0
        self.wrong: list[str] = []
        self.manifests_seen: set[bytes] = set()

    def run(self) -> None:
        while not self.stopping.wait(0.02):
            before = self._read("manifest.json")
            if before is None:  # nothing has been published yet
                continue
            named = json.loads(before)["files"]
            contents = {name: self._read(name) or b"" for name in named}
            after = self._read("manifest.json")
            assert after is not None
            self.manifests_seen |= {before, after}
            self.rounds += 1
            for name, content in contents.items():
                self._check_whole(name, content)
                allowed = {json.loads(manifest)["files"][name]["sha256"] for manifest in (before, after)}
                if sha256(content) not in allowed:
                    self.wrong.append(f"{name} is not the file of its manifest")

    def _check_whole(self, name: str, content: bytes) -> None:
        try:
            if name.endswith(".parquet"):
                pq.read_table(pa.BufferReader(content))
            elif len({len(row) for row in csv.reader(content.decode().splitlines())}) != 1 or content[-1:] != b"\n":
                self.wrong.append(f"{name} is half a file: {content[-100:]!r}")
        except (pa.ArrowException, UnicodeDecodeError) as error:
            self.wrong.append(f"{name} is half a file: {error}")

    def _read(self, name: str) -> bytes | None:
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None


@contextmanager
def read_all_the_time(settings: Settings) -> Iterator[Reader]:
    reader = Reader(settings.output_path)
    reader.start()
    try:
        yield reader
    finally:
        reader.stopping.set()
        reader.join()
    assert reader.wrong == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("crashes")


@pytest.fixture(scope="module")
def first_day(folder: Path) -> Settings:
    settings = settings_in(folder / "first")
    play(settings, 5, "first")
    return settings


@pytest.fixture(scope="module")
def second_day(folder: Path, first_day: Settings) -> tuple[Settings, list[str]]:
    """The second day without a crash, and all its moments."""
    shutil.copytree(first_day.landing_path.parent, folder / "second", symlinks=True)
    settings = settings_in(folder / "second")
    return settings, run_and_die(play, settings, 6, "second")


@pytest.fixture(scope="module")
def expected(second_day: tuple[Settings, list[str]]) -> dict[str, Any]:
    return all_that_was_made(second_day[0])


@pytest.fixture
def crashing(first_day: Settings, tmp_path: Path) -> Settings:
    """A copy of the first day, for the second to crash in."""
    shutil.copytree(first_day.landing_path.parent, tmp_path / "copy", symlinks=True)
    return settings_in(tmp_path / "copy")


CHOSEN = {
    "between landing and ledger": r"^rename .*/ledger\.jsonl$",
    "inside a snapshot": r"^sql done update .*snap_customer",
    "between snapshots and intermediate": r"^sql create temporary view .*int_account_with_customer",
    "while the exports are written": r"^rename .*/\.staging/.*/account_summary\.parquet$",
    "while the exports are shown": r"^rename .*/\.current$",
    "while the report is written": r"^rename .*/quality_report_",
}
OTHERS = {
    "before the first file is landed": r"^rename .*/landing/customers/",
    "between the two files": r"^rename .*/landing/accounts/",
    "before the checkpoint": r"^rename .*/lc_pipeline\.duckdb\.",
    "between ledger and dbt": r"^sql ",
    "in a source table": r"^sql done create table .*src_account",
    "before a merge": r"^sql create temporary table .*int_account_with_customer__changes",
    "after a merge, not committed": r"^sql done create temporary table .*account_summary__changes",
    "between the marts": r"^sql create temporary view .*customer_profile",
    "before the exports are shown": r"^rename .*/\.versions/",
    "before the delivery is closed": r"^rename .*/ledger\.jsonl$",
}
"""In the order of a delivery: each crash but the first is one of the run that repairs the crash before."""


@pytest.mark.parametrize("moment", CHOSEN)
def test_a_crash_leaves_no_trace(crashing: Settings, expected: dict[str, Any], moment: str) -> None:
    with read_all_the_time(crashing) as reader:
        run_and_die(play, crashing, 6, "killed", at=CHOSEN[moment])
        play(crashing, 6, "again")

    assert all_that_was_made(crashing) == expected
    assert len(reader.manifests_seen) >= 2


def test_crash_after_crash_leaves_no_trace(crashing: Settings, expected: dict[str, Any]) -> None:
    with read_all_the_time(crashing):
        for moment in OTHERS:
            run_and_die(play, crashing, 6, moment, at=OTHERS[moment])
        play(crashing, 6, "again")

    assert all_that_was_made(crashing) == expected


@pytest.mark.parametrize("share", [RANDOM.random() for _ in range(RANDOM_CRASHES)])
def test_crashes_at_any_time_leave_no_trace(
    crashing: Settings, second_day: tuple[Settings, list[str]], expected: dict[str, Any], share: float
) -> None:
    """Killed at any moment that can be named, then while it repairs that, then at any time at all."""
    with read_all_the_time(crashing):
        run_and_die(play, crashing, 6, "killed", at=int(share * (len(second_day[1]) - 10)))
        run_and_die(play, crashing, 6, "killed again", after=share * 3)
        play(crashing, 6, "again")

    assert all_that_was_made(crashing) == expected


def test_a_crash_of_the_first_delivery_leaves_no_trace(first_day: Settings, tmp_path: Path) -> None:
    settings = settings_in(tmp_path / "new")

    run_and_die(play, settings, 5, "killed", at=r"^sql done create table .*snap_customer")
    play(settings, 5, "again")

    assert all_that_was_made(settings) == all_that_was_made(first_day)


def test_a_crash_of_a_rebuild_keeps_the_old_database(
    second_day: tuple[Settings, list[str]], tmp_path: Path, expected: dict[str, Any]
) -> None:
    shutil.copytree(second_day[0].landing_path.parent, tmp_path / "copy", symlinks=True)
    settings = settings_in(tmp_path / "copy")

    run_and_die(rebuild, settings, at=CHOSEN["between snapshots and intermediate"])
    assert read_tables(settings) == read_tables(second_day[0])

    rebuild(settings)
    assert all_that_was_made(settings) == expected
