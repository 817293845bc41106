"""A preview says what a delivery will do, and keeps nothing of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from include.pipeline import DeliveryFailed, deliver
from include.preview import keep_report, preview
from include.preview import main as preview_main
from include.quality.report import TREND_RUNS, Report, newest_report
from include.settings import Settings
from tests.support.deliveries import customer, day, write_extracts
from tests.support.settings import environment_of
from tests.support.tables import read_tables
from tests.support.two_days import FIRST_DAY, SECOND_DAY, break_snapshots, play

pytestmark = pytest.mark.slow

SECTIONS = (
    "verdict",
    "why",
    "totals",
    "reconciliation",
    "quarantine",
    "stale_keys",
    "orphan_accounts",
    "scd2",
    "changes",
    "marts",
    "balances",
    "interest",
    "against_previous",
)


def files_of(settings: Settings) -> dict[str, bytes]:
    """Return the content of all files that a run leaves, without the locks."""
    folders = (
        settings.landing_path,
        settings.output_path,
        settings.data_quality_report_path,
        settings.duckdb_path.parent,
    )
    return {
        str(path): path.read_bytes()
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


def content_of(report: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return {section: content[section] for section in SECTIONS}


def test_it_says_what_the_delivery_then_does_and_keeps_nothing(
    engine: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    play(engine, 5, "first")
    elsewhere = tmp_path / "elsewhere"
    write_extracts(elsewhere, *SECOND_DAY)
    files, tables = files_of(engine), read_tables(engine)
    for variable, value in environment_of(engine).items():
        monkeypatch.setenv(variable, value)

    arguments = ["--input", str(elsewhere), "--logical-date", day(6).isoformat(), "--to", str(tmp_path / "kept")]
    assert preview_main(arguments) == 0

    assert files_of(engine) == files
    assert read_tables(engine) == tables
    shown = capfd.readouterr().out
    assert "preview    nothing was kept" in shown
    assert "changes    customers: 1 new, 1 changed" in shown
    [path] = (tmp_path / "kept").glob("preview_*.json")
    kept = Report.load(path)
    assert kept.run.is_preview
    assert [entry.run_id for entry in kept.trend] == ["first"]
    assert "nothing of it was kept" in path.with_suffix(".html").read_text(encoding="utf-8")

    play(engine, 6, "second")
    real = newest_report(engine.data_quality_report_path)
    assert content_of(path) == content_of(real)
    assert [entry.run_id for entry in Report.load(real).trend] == ["first", "second"]


def test_a_delivery_that_would_be_refused_is_told_with_exit_status_1(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    play(settings, 5, "first")
    accounts = settings.input_path / "accounts.csv"
    accounts.write_text(accounts.read_text().replace("Balance", "Saldo"))
    files = files_of(settings)
    for variable, value in environment_of(settings).items():
        monkeypatch.setenv(variable, value)

    assert preview_main(["--logical-date", day(6).isoformat()]) == 1

    shown = capfd.readouterr()
    assert shown.err.splitlines()[-1].startswith("error: ")
    assert "Is 'Saldo' the new name of Balance?" in shown.err
    assert "verdict    fail" in shown.out
    assert "report     " not in shown.out  # there is none to open
    assert files_of(settings) == files


def test_previews_do_not_crowd_out_the_runs_before(settings: Settings) -> None:
    play(settings, 5, "first")
    with preview(settings, logical_date=day(6), run_id="preview") as (report, _):
        kept = keep_report(report, settings.data_quality_report_path)
    for number in range(TREND_RUNS):
        shutil.copy(kept, kept.with_name(kept.name.replace("Z_preview", f"Z_preview_{number}")))

    play(settings, 6, "second")

    second = Report.load(newest_report(settings.data_quality_report_path))
    assert [entry.run_id for entry in second.trend] == ["first", "second"]
    assert second.against_previous.run_id == "first"


def test_before_the_first_delivery_there_is_a_preview_too(settings: Settings) -> None:
    write_extracts(settings.input_path, *SECOND_DAY)

    with preview(settings, logical_date=day(5), run_id="preview") as (report, error):
        assert error is None
        assert Report.load(report).trend == ()

    assert not settings.duckdb_path.exists()
    assert [path.name for path in settings.landing_path.iterdir()] == [".preview.lock"]


def test_an_unfinished_delivery_is_finished_on_the_copy_alone(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(settings, 5, "first")
    with monkeypatch.context() as patch:
        break_snapshots(settings, patch)
        with pytest.raises(DeliveryFailed):
            play(settings, 6, "second")
    files = files_of(settings)

    with preview(settings, logical_date=day(7), run_id="preview") as (report, error):
        assert error is None
        previewed = content_of(report)
    assert files_of(settings) == files

    deliver(settings, logical_date=day(7), run_id="third")
    real = content_of(newest_report(settings.data_quality_report_path))
    for content in (previewed, real):
        content.pop("against_previous")  # of a preview, against the run that could not be finished
    assert previewed == real


def test_a_correction_of_an_unfinished_delivery_replaces_it_on_the_copy(
    engine: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(engine, 5, "first")
    with monkeypatch.context() as patch:
        break_snapshots(engine, patch)
        with pytest.raises(DeliveryFailed):
            play(engine, 6, "second")
    write_extracts(engine.input_path, [*FIRST_DAY[0], customer("9")], FIRST_DAY[1])
    files = files_of(engine)

    with preview(engine, logical_date=day(6), run_id="preview") as (report, error):
        assert error is None
        previewed = content_of(report)
    assert files_of(engine) == files
    assert [(change["new"], change["changed"]) for change in previewed["changes"]] == [(1, 0), (0, 0)]

    deliver(engine, logical_date=day(6), run_id="third")
    real = content_of(newest_report(engine.data_quality_report_path))
    for content in (previewed, real):
        content.pop("against_previous")
    assert previewed == real


def test_a_killed_preview_leaves_nothing_to_the_next(settings: Settings) -> None:
    play(settings, 5, "first")
    left_behind = settings.landing_path / ".preview"
    shutil.copytree(settings.landing_path / "customers", left_behind / "landing" / "customers")

    with preview(settings, logical_date=day(6), run_id="preview") as (_, error):
        assert error is None

    assert not left_behind.exists()
