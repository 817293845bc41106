from __future__ import annotations

import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from benchmarks import document
from benchmarks.results import Results, SizeResult
from benchmarks.ways import Cost, spill_files

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def results() -> Results:
    results = Results(changed_customers=1000, history_customers=100, changed={0.0001: 3.5}, history={2: 4.0, 30: 4.4})
    for customers in (1000, 10_000):
        floors = [Cost(1.0, 2**29), Cost(2.0, 2**30)]
        results.sizes += [
            SizeResult("floor", customers, floors, floors),
            SizeResult("include.deliver", customers, [Cost(3.0, 2**30), Cost(7.0, 2**31, 2**29)], floors),
            SizeResult("scheduler", customers, [Cost(20.0, None), Cost(26.0, None)], floors),
        ]
    return results


def test_the_page_has_ratios_to_the_floor_of_the_same_run(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document, "DOCUMENT", tmp_path / "performance.md")
    monkeypatch.setattr(document, "PLOTS", tmp_path)
    page = document.write_document(results).read_text()
    assert "| 10,000 | include.deliver | 3.0 s | 3.0 | 7.0 s | 3.5 | 2.0 GiB | 0.5 GiB |" in page
    assert "| 10,000 | scheduler | 20.0 s | 20.0 | 26.0 s | 13.0 |  |  |" in page
    assert "| 0.01% | 3.5 |" in page
    assert "| 30 | 4.4 | 1.10 |" in page
    assert {path.name for path in tmp_path.iterdir()} == {
        "performance.md",
        "benchmark_time.svg",
        "benchmark_memory.svg",
    }


def test_a_plot_has_a_line_for_each_way_and_labels_that_do_not_cover_each_other() -> None:
    lines = {way: [(1000, 1.0), (10_000, 2.0 + number / 100)] for number, way in enumerate(document.COLOURS)}
    plot = ElementTree.fromstring(document.plot(lines, "seconds"))  # noqa: S314 - our own
    assert len(plot.findall(f"{SVG}polyline")) == len(lines)
    heights = [float(text.attrib["y"]) for text in plot.findall(f"{SVG}text") if text.text in lines]
    assert len(heights) == len(lines)
    assert min(later - earlier for earlier, later in zip(sorted(heights), sorted(heights)[1:], strict=False)) >= 16


def test_the_watch_of_the_spill_survives_a_folder_that_vanishes(tmp_path: Path) -> None:
    files = [tmp_path / "one" / "duckdb_temp_1", tmp_path / "other" / "duckdb_temp_2"]
    for file in files:
        file.parent.mkdir()
        file.touch()
        file.with_name("lc_pipeline.duckdb").touch()
    assert sorted(spill_files(tmp_path)) == files

    found = spill_files(tmp_path)
    files.remove(next(found))
    shutil.rmtree(files[0].parent)
    assert list(found) == []
