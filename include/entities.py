"""The two entities that the extracts describe. The names of files, ledger fields and tables are derived from them."""

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
        """The staging table that has every record and its status."""
        return f"stg_{self.name}_checked"

    @property
    def staged(self) -> str:
        """The staging view of the valid records."""
        return f"stg_{self.name}"

    @property
    def snapshot(self) -> str:
        """The snapshot, which has its versions."""
        return f"snap_{self.name}"


CUSTOMER = Entity("customer", "customers", key="customer_id", key_type="number")
ACCOUNT = Entity("account", "accounts", key="account_id", key_type="text")
ENTITIES = (CUSTOMER, ACCOUNT)
