"""What is done before each dbt task."""

from __future__ import annotations

import os
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from dbt.cli.main import dbtRunner

from include.dbt import cosmos, manifest
from include.dbt.runner import invoke
from tests.support.settings import settings_in


@pytest.mark.parametrize(
    ("found", "written"),
    [(None, {"run_results.json"}), (ModuleSpec("openlineage", None), {"run_results.json", "manifest.json"})],
    ids=["without OpenLineage", "with OpenLineage"],
)
def test_dbt_writes_its_manifest_only_where_openlineage_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: ModuleSpec | None, written: set[str]
) -> None:
    monkeypatch.setattr(cosmos, "find_spec", {"airflow.providers.openlineage": found}.__getitem__)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    runner = dbtRunner()
    monkeypatch.setattr(cosmos, "get_runner", lambda: runner)

    cosmos.prepare_task({"run_id": "run"}, None)
    nothing = ["build", "--quiet", "--select", "tag:none"]
    invoke(settings_in(tmp_path), nothing, tmp_path, manifest=runner.manifest)

    assert written == {name for name in ("run_results.json", "manifest.json") if (tmp_path / name).exists()}


def test_a_manifest_loaded_in_advance_is_used_once_and_not_after_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_in(tmp_path)
    manifest.load_in_advance(settings)
    loads: list[Path] = []
    monkeypatch.setattr(manifest, "_load", loads.append)

    assert "model.lc_pipeline.account_summary" in manifest.load_manifest(settings).nodes
    assert loads == []
    manifest.load_manifest(settings)
    assert len(loads) == 1

    monkeypatch.undo()
    manifest.load_in_advance(settings)
    monkeypatch.setattr(manifest, "_load", loads.append)
    monkeypatch.setattr(manifest, "_parsed", lambda _settings: tmp_path / "of other sources")
    manifest.load_manifest(settings)
    assert loads[1:] == [tmp_path / "of other sources"]
