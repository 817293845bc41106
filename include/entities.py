"""The two things that the extracts describe, from which the names of files, ledger fields and tables are derived."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

KeyType = Literal["number", "text"]


@dataclass(frozen=True)
class Entity:
    """`file` names the extract, its folder in the landing and its fields in the ledger; `key` is its column there."""

    name: str
    file: str
    key: str
    key_type: KeyType

    @property
    def source(self) -> str:
        """The model whose columns in dbt/models/source/_source.yml are the extract's."""
        return f"src_{self.name}"

    @property
    def checked(self) -> str:
        """The table of staging that has every record with what became of it."""
        return f"stg_{self.name}_checked"

    @property
    def staged(self) -> str:
        """The view of staging with the records that are taken."""
        return f"stg_{self.name}"

    @property
    def snapshot(self) -> str:
        """The table of its versions."""
        return f"snap_{self.name}"


CUSTOMER = Entity("customer", "customers", key="customer_id", key_type="number")
ACCOUNT = Entity("account", "accounts", key="account_id", key_type="text")
ENTITIES = (CUSTOMER, ACCOUNT)
