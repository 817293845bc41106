"""The layers of the pipeline, in order. Task groups and the report's sections follow from this list.

dbt/dbt_project.yml has the same names as tags.
"""

from typing import Literal, get_args

from include.entities import ENTITIES

Layer = Literal["source", "staging", "snapshots", "intermediate", "marts"]
LAYERS: tuple[Layer, ...] = get_args(Layer)

TEST_FAILURES = "test_failures"
"""The schema in which dbt keeps the failing rows of tests with `store_failures`, until they run again."""

SCHEMAS = (*LAYERS, TEST_FAILURES)
"""The suffix of each schema that dbt creates, after the base and an underscore."""

KEPT_TABLES = {
    "snapshots": tuple(entity.snapshot for entity in ENTITIES),
    "intermediate": ("int_account_with_customer", "int_savings_account_only"),
    "marts": ("account_summary", "customer_profile"),
}
"""The tables that keep their rows between deliveries. Each delivery builds the others from scratch."""
