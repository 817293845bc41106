"""Two small deliveries with every kind of change between them, played whole or broken off halfway."""

from __future__ import annotations

import pytest

from include.dbt.manifest import load_manifest
from include.dbt.runner import run_dbt
from include.pipeline import BUILD, DeliveryFailed, deliver
from include.settings import Settings
from tests.support.deliveries import account, customer, day, write_extracts

FIRST_DAY = (
    [customer("1", name="Ada", has_loan="yes"), customer("2", name="Bo"), customer("3", name="Cy")],
    [
        account("A", customer_id="1", balance="9999.99"),
        account("B", customer_id="2", balance="500.00"),
        account("C", customer_id="2", balance="70.00", account_type="checking"),
        account("D", customer_id="3", balance="80.00"),
    ],
)
SECOND_DAY = (
    [customer("1", name="Ada", has_loan="no"), customer("2", name="Bo"), customer("4", name="Di", has_loan="yes"), "3"],
    [
        account("A", customer_id="1", balance="9999.99"),
        account("B", customer_id="2", balance="500.00", account_type="checking"),
        account("E", customer_id="4", balance="20000"),
        account("F", customer_id="4", balance="-1"),
    ],
)


def play(settings: Settings, number: int, run_id: str, **options: bool) -> None:
    """Deliver the files of one of the two days, with deliver()'s further arguments."""
    write_extracts(settings.input_path, *(FIRST_DAY if number == 5 else SECOND_DAY))
    deliver(settings, logical_date=day(number), run_id=run_id, **options)


def break_snapshots(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make dbt stop after the snapshots, as a crash there would."""
    selection = [*BUILD, "--exclude", "intermediate", "marts"]

    def stop_halfway(*_: object, run_id: str, **__: object) -> None:
        run_dbt(settings, selection, manifest=load_manifest(settings), run_id=run_id)
        raise DeliveryFailed("stopped after the snapshots")

    monkeypatch.setattr("include.pipeline.build", stop_halfway)
