"""Other rates than the repository's, in a copy of the dbt project that the pipeline uses in its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.support.project import use_copy
from tests.support.reference_model import Rates

SEED = "seeds/interest_rate_tier.csv"
HEADER = "valid_from_date,from_balance_amount,below_balance_amount,base_rate_pct,loan_bonus_pct"


def change_rates(change: Callable[[str], str], folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Make the pipeline use a copy of the dbt project in `folder`, with the rates' text changed by `change`."""
    seed = use_copy(folder, patch) / SEED
    seed.write_text(change(seed.read_text()))


def as_seed(sets: Sequence[Rates]) -> str:
    """Return the text of the seed for sets of rates."""
    lines = [HEADER]
    for rates in sets:
        below = ""
        for edge, rate in rates.tiers:
            lines.append(f"{rates.since or ''},{edge},{below},{rate},{rates.loan_bonus}")
            below = edge
    return "\n".join(lines) + "\n"
