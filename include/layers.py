"""The layers of the pipeline, in order: the task groups, the dbt tags and the report's sections all come from here."""

from typing import Literal, get_args

from include.entities import ENTITIES

Layer = Literal["source", "staging", "snapshots", "intermediate", "marts"]
LAYERS: tuple[Layer, ...] = get_args(Layer)

TEST_FAILURES = "test_failures"
"""The schema in which dbt keeps what tests with `store_failures` found, until they run again."""

SCHEMAS = (*LAYERS, TEST_FAILURES)
"""What follows the base in the name of each schema that dbt makes."""

KEPT_TABLES = {
    "snapshots": tuple(entity.snapshot for entity in ENTITIES),
    "intermediate": ("int_account_with_customer", "int_savings_account_only"),
    "marts": ("account_summary", "customer_profile"),
}
"""The tables that a delivery changes; the others are made from scratch by each."""
