"""The pipeline's data as Airflow assets, from the extracts to the exports, and the content of their events.

An asset is identified by its name, which is the same on both engines: `schedule=[Asset("account_summary")]`. A green
run creates the events after its quality report, because they carry the verdict (include.tasks.announce_assets).

The DAG file imports this module, so modules that need duckdb are imported in the functions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset

from include.entities import ENTITIES
from include.layers import KEPT_TABLES
from include.ledger import Ledger, time_text
from include.settings import DatabaseType, Settings

if TYPE_CHECKING:
    from include.quality.report import Report

EXTRACTS = {f"{entity.file}.csv": entity.file for entity in ENTITIES}
MARTS = KEPT_TABLES["marts"]
EXPORTS = tuple(f"{mart}.{format_}" for mart in MARTS for format_ in ("csv", "parquet"))
PUBLISHED = {f"published.{mart}": mart for mart in MARTS}
"""On Databricks: the tables that consumers read, each with the mart that it copies."""


@dataclass(frozen=True)
class Step:
    """A step of the lineage, with its inputs and outputs."""

    name: str
    inlets: tuple[Asset, ...]
    outlets: tuple[Asset, ...]


def lineage(database_type: DatabaseType) -> tuple[Step, ...]:
    """Return the steps from the extracts to the published data of an engine, in order."""
    made = {
        "extracts": tuple(EXTRACTS),
        "snapshots": KEPT_TABLES["snapshots"],
        "marts": MARTS,
        "exports": (*EXPORTS, *(PUBLISHED if database_type == "databricks" else ())),
    }
    assets = {step: tuple(Asset(name) for name in names) for step, names in made.items()}
    before = ((), *assets.values())
    return tuple(Step(name, inlets, outlets) for inlets, (name, outlets) in zip(before, assets.items(), strict=False))


def is_news(report: Report) -> bool:
    """Return True if the run has published usable data: it processed a delivery and is not red."""
    run = report.run
    return report.verdict != "fail" and not run.is_preview and (run.outcome != "unchanged" or run.full_refresh)


def describe(
    settings: Settings, report_path: Path, report: Report, names: tuple[str, ...]
) -> dict[str, dict[str, Any]]:
    """Return what the events of these assets carry: verdict, why, run and delivery, the report's name, rows, hashes.

    Values that neither the report nor the run's exports have are left out. Raises LedgerError.
    """
    run = report.run
    common = {
        "verdict": report.verdict,
        "why": report.why,
        "run_id": run.run_id,
        "delivered_at": run.delivered_at and time_text(run.delivered_at),
        "report": report_path.name,
    }
    known = {
        **_extracts(settings, report),
        **{
            snapshot.snapshot: {"rows": snapshot.versions, "current_rows": snapshot.current_versions}
            for snapshot in report.scd2 or ()
        },
        **_marts(report),
        **_exports(settings.output_path, run.run_id),
    }
    return {name: common | known.get(name, {}) for name in names}


def _extracts(settings: Settings, report: Report) -> dict[str, dict[str, Any]]:
    entries = Ledger.load(settings.landing_path).entries
    delivery = next((entry for entry in entries if entry.delivered_at == report.run.delivered_at), None)
    if delivery is None:
        return {}
    files = {name: delivery.file(file) for name, file in EXTRACTS.items()}
    return {name: {"rows": file.rows, "bytes": file.bytes, "sha256": file.sha256} for name, file in files.items()}


def _marts(report: Report) -> dict[str, dict[str, Any]]:
    found = {mart.mart: {"rows": mart.total_rows, "changed_rows": mart.changed_rows} for mart in report.marts or ()}
    return found | {table: found[mart] for table, mart in PUBLISHED.items() if mart in found}


def _exports(output_path: Path, run_id: str) -> Mapping[str, dict[str, Any]]:
    """Return rows, bytes and hash of each file that the run has exported; empty if a later run has replaced them."""
    from include.exports import MANIFEST

    try:
        manifest: dict[str, Any] = json.loads((output_path / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    files: dict[str, dict[str, Any]] = manifest["files"]
    return files if manifest["run_id"] == run_id else {}
