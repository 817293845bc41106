"""What file systems and file managers leave in a folder (.DS_Store, ._name, .nfs0001, @eaDir) is not its content."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from include.dbt import manifest, runner
from include.files import run_key
from include.pipeline import write_report
from local_warehouse.catalog import Catalog
from tests.support.settings import settings_in

APPLE_DOUBLE = b"\0\5\26\7\0\2\0\0Mac OS X        \xff"


def test_a_report_is_written_among_files_that_are_no_reports_and_no_results(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    reports = settings.data_quality_report_path
    artifacts = reports / "artifacts" / run_key("one")
    artifacts.mkdir(parents=True)
    (artifacts / "._build.run_results.json").write_bytes(APPLE_DOUBLE)
    for name, content in {
        ".DS_Store": APPLE_DOUBLE,
        "._quality_report_1.json": APPLE_DOUBLE,
        "quality_report_2.json": APPLE_DOUBLE,
        "quality_report_3.json": b"[]",
        "quality_report_4.json": b'{"by": "somebody else"}',
    }.items():
        (reports / name).write_bytes(content)
    (reports / "quality_report_5.json").mkdir()

    report = json.loads(write_report(settings, run_id="one").read_text())

    assert (report["run"]["run_id"], report["verdict"], len(report["trend"])) == ("one", "fail", 1)


def test_the_manifest_is_not_stale_because_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "dbt"
    shutil.copytree(runner.DBT_DIR / "models", copy / "models")
    monkeypatch.setattr(runner, "DBT_DIR", copy)
    before = manifest.sources_digest()

    (copy / "models" / "@eaDir").mkdir()
    for name in ("models/.DS_Store", "models/@eaDir/src_customer.sql@SynoEAStream", ".nfs0001"):
        (copy / name).write_bytes(APPLE_DOUBLE)

    assert manifest.sources_digest() == before


def test_the_local_warehouse_starts_among_them(tmp_path: Path) -> None:
    (tmp_path / "tables" / "left behind by a crash").mkdir(parents=True)
    (tmp_path / "tables" / ".DS_Store").write_bytes(APPLE_DOUBLE)

    Catalog(tmp_path, "lending")

    assert [path.name for path in (tmp_path / "tables").iterdir()] == [".DS_Store"]
