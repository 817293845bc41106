"""Two small deliveries with every kind of change between them, played whole or broken off halfway."""

from __future__ import annotations

import pytest

from include.dbt.manifest import load_manifest
from include.dbt.runner import run_dbt
from include.pipeline import DeliveryFailed, deliver
from include.settings import Settings
from tests.support.deliveries import day, write_extracts

FIRST_DAY = (
    ["1,Ada,yes", "2,Bo,no", "3,Cy,no"],
    ["A,1,9999.99,savings", "B,2,500.00,savings", "C,2,70.00,checking", "D,3,80.00,savings"],
)
SECOND_DAY = (
    ["1,Ada,no", "2,Bo,no", "4,Di,yes", "3"],
    ["A,1,9999.99,savings", "B,2,500.00,checking", "E,4,20000,savings", "F,4,-1,savings"],
)


def play(settings: Settings, number: int, run_id: str, **options: bool) -> None:
    """Deliver the files of one of the two days, with deliver()'s further arguments."""
    write_extracts(settings.input_path, *(FIRST_DAY if number == 5 else SECOND_DAY))
    deliver(settings, logical_date=day(number), run_id=run_id, **options)


def break_snapshots(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let dbt stop after the snapshots, as a crash there would."""
    selection = ["build", "--exclude-resource-type", "unit_test", "--exclude", "intermediate", "marts"]

    def stop_halfway(*_: object, run_id: str, **__: object) -> None:
        run_dbt(settings, selection, manifest=load_manifest(settings), run_id=run_id)
        raise DeliveryFailed("stopped after the snapshots")

    monkeypatch.setattr("include.pipeline.build", stop_halfway)
