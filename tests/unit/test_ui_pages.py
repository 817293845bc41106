"""Which files the pages of the quality reports are: those of the folder, and no other."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from include.artifacts import report_of
from include.files import run_key
from include.ui.guard import Guard
from include.ui.pages import read_page

SCHEDULED = "scheduled__2026-01-05T02:00:00+00:00"
REPORT = "quality_report_20260105T020000000000Z_now.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of reports, with a secret beside it and links to that in it."""
    folder = tmp_path / "reports"
    (folder / "artifacts").mkdir(parents=True)
    (folder / "index.html").write_text("the index")
    (folder / "report.json").write_text("secret")
    (folder / REPORT).write_text("the report")
    (folder / "artifacts" / "page.html").write_text("secret")
    (tmp_path / "secret.html").write_text("secret")
    (folder / "link.html").symlink_to(tmp_path / "secret.html")
    (folder / "loop.html").symlink_to("loop.html")
    (folder / "folder.html").mkdir()
    (folder / ".hidden.html").write_text("secret")
    os.mkfifo(folder / "pipe.html")
    return folder


def test_a_page_and_a_report_are_read(folder: Path) -> None:
    assert read_page(folder, "index.html") == b"the index"
    assert read_page(folder, REPORT) == b"the report"


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../secret.html",
        "..\\secret.html",
        "/etc/passwd",
        "artifacts/page.html",
        "artifacts/../index.html",
        "./index.html",
        "index.html/",
        "index.html\n",
        "index.html\0",
        "secret.html\0index.html",
        "index.html%00",
        "%2e%2e%2fsecret.html",
        "ındex.html",
        "INDEX.HTML",
        ".hidden.html",
        "report.json",
        f"../reports/{REPORT}",
        f"{REPORT}\n",
        REPORT.replace("_now", "_../x"),
        REPORT.removesuffix(".json"),
        "link.html",
        "loop.html",
        "folder.html",
        "pipe.html",
        "missing.html",
        f"{'x' * 5000}.html",
    ],
)
def test_anything_else_is_no_page(folder: Path, name: str) -> None:
    assert read_page(folder, name) is None


def test_a_folder_that_is_not_there_has_no_pages(tmp_path: Path) -> None:
    assert read_page(tmp_path / "none", "index.html") is None
    assert report_of(tmp_path / "none", SCHEDULED, ".html") is None


def add_page(folder: Path, run_id: str, time: str = "20260105T020000000000Z", modified: int = 0) -> str:
    name = f"quality_report_{time}_{run_key(run_id)}.html"
    (folder / name).write_text(run_id)
    os.utime(folder / name, (modified, modified))
    return name


@pytest.mark.parametrize("run_id", [SCHEDULED, "now", "Now", "a_now", "x" * 250, "../../etc", "a.b*[c]", "größe"])
def test_each_run_has_its_own_page(tmp_path: Path, run_id: str) -> None:
    for other in ("now", "Now", "a_now", f"{SCHEDULED}1", "x" * 249):
        add_page(tmp_path, other)
    expected = add_page(tmp_path, run_id)

    assert report_of(tmp_path, run_id, ".html") == tmp_path / expected


@pytest.mark.parametrize("run_id", ["now", "", "20260105T020000000000Z_a_now", ".*", "a_now.html"])
def test_a_run_without_a_report_gets_no_other_ones(tmp_path: Path, run_id: str) -> None:
    add_page(tmp_path, "a_now")

    assert report_of(tmp_path, run_id, ".html") is None


def test_the_page_of_a_preview_is_that_of_its_run(tmp_path: Path) -> None:
    page = tmp_path / add_page(tmp_path, "now")
    preview = page.rename(page.with_name(page.name.replace("quality_report", "preview")))

    assert report_of(tmp_path, "now", ".html") == preview


def test_of_a_run_that_was_cleared_the_newest_page_counts(tmp_path: Path) -> None:
    newest = add_page(tmp_path, "now", time="20260105T020000000000Z", modified=2)
    add_page(tmp_path, "now", time="20260106T020000000000Z", modified=1)

    assert report_of(tmp_path, "now", ".html") == tmp_path / newest


def test_wrong_settings_keep_neither_the_plugin_nor_its_guard_from_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the guard Cosmos would show dbt's documentation to everybody."""
    monkeypatch.setenv("MAX_ROW_DROP_PCT", "half")
    monkeypatch.delitem(sys.modules, "plugins.quality", raising=False)
    plugin = importlib.import_module("plugins.quality").QualityPlugin

    assert [entry["middleware"] for entry in plugin.fastapi_root_middlewares] == [Guard]
    (app,) = (entry["app"] for entry in plugin.fastapi_apps)
    answer = TestClient(app).get("/")
    assert answer.status_code == 500
    assert "MAX_ROW_DROP_PCT must be a percentage from 0 to 100, but is &#x27;half&#x27;" in answer.text
