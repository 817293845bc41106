"""The layers of the pipeline, in order: the task groups, the dbt tags and the report's sections all come from here."""

from typing import Literal, get_args

Layer = Literal["source", "staging", "snapshots", "intermediate", "marts"]
LAYERS: tuple[Layer, ...] = get_args(Layer)

KEPT_TABLES = {
    "snapshots": ("snap_customer", "snap_account"),
    "intermediate": ("int_account_with_customer", "int_savings_account_only"),
    "marts": ("account_summary", "customer_profile"),
}
"""The tables that a delivery changes; the others are made anew by each."""
