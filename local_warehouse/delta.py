"""Reads and writes the transaction logs of Delta tables by the protocol. The SQL engine writes the data files.

Covers the commits that change no rows (properties, comments, NOT NULL), those that only exchange files (RESTORE,
CREATE OR REPLACE TABLE), and the history. https://github.com/delta-io/delta/blob/master/PROTOCOL.md
"""

from __future__ import annotations

import copy
import json
import os
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local_warehouse.contract import StatementFailed, Struct

Action = dict[str, Any]
SIMPLE_TYPES = {"long": "bigint", "integer": "int", "short": "smallint", "byte": "tinyint", "void": "void"}


@dataclass
class Snapshot:
    """A table as of one version."""

    version: int = -1
    metadata: dict[str, Any] = field(default_factory=dict)
    protocol: dict[str, Any] = field(default_factory=dict)
    files: dict[str, Action] = field(default_factory=dict)

    def apply(self, version: int, actions: list[Action]) -> None:
        """Advance to the next version."""
        self.version = version
        for action in actions:
            if "add" in action:
                self.files[action["add"]["path"]] = action["add"]
            elif "remove" in action:
                self.files.pop(action["remove"]["path"], None)
            elif "metaData" in action:
                self.metadata = action["metaData"]
            elif "protocol" in action:
                self.protocol = action["protocol"]

    @property
    def struct(self) -> Struct:
        """The columns."""
        struct: Struct = json.loads(self.metadata["schemaString"])
        return struct


class DeltaTable:
    """The log of the table at `location`. It also reads commits that others write."""

    def __init__(self, location: Path) -> None:
        self.location = location
        self._latest = Snapshot()

    def snapshot(self, version: int | None = None) -> Snapshot:
        """Return the table as of a version, by default the latest (an object that the next call may advance).

        Raises StatementFailed if there is no such version.
        """
        if version is None:
            while self._path(self._latest.version + 1).exists():
                self._latest.apply(self._latest.version + 1, self.actions(self._latest.version + 1))
            return self._latest
        latest = self.snapshot().version
        if not 0 <= version <= latest:
            message = f"Cannot time travel Delta table to version {version}. Available versions: [0, {latest}]."
            raise StatementFailed("DELTA_VERSION_NOT_FOUND", message, "22003")
        snapshot = Snapshot()
        for number in range(version + 1):
            snapshot.apply(number, self.actions(number))
        return snapshot

    def actions(self, version: int) -> list[Action]:
        """Return the actions of a version's commit."""
        lines = self._path(version).read_text(encoding="utf-8").split("\n")  # a value may have another line break
        return [json.loads(line) for line in lines if line.strip()]

    def history(self) -> list[Action]:
        """Return each commit's commitInfo with its `version`, the latest first."""
        return [self.commit_info(version) for version in range(self.snapshot().version, -1, -1)]

    def commit_info(self, version: int) -> Action:
        """Return a commit's commitInfo with its `version`."""
        info: Action = next((action["commitInfo"] for action in self.actions(version) if "commitInfo" in action), {})
        return {**info, "version": version}

    def version_at(self, milliseconds: int) -> int:
        """Return the latest version not after a time. Raises StatementFailed if the table is younger."""
        for commit in self.history():
            if commit["timestamp"] <= milliseconds:
                return int(commit["version"])
        message = "The provided timestamp is before the earliest version available to this table."
        raise StatementFailed("DELTA_TIMESTAMP_EARLIER_THAN_COMMIT_RETENTION", message, "42816")

    def commit(self, operation: str, parameters: dict[str, str], actions: list[Action]) -> int:
        """Write the next version, whole or not at all, and return its number."""
        version = self.snapshot().version + 1
        info = {
            "timestamp": int(time.time() * 1000),
            "operation": operation,
            "operationParameters": parameters,
            "isBlindAppend": False,
            "engineInfo": "local-warehouse",
        }
        lines = [json.dumps(action) for action in [{"commitInfo": info}, *actions]]
        path = self._path(version)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
        try:
            os.link(temporary, path)  # unlike rename, never over a commit that somebody else has written
        finally:
            temporary.unlink()
        return version

    def change_metadata(self, operation: str, parameters: dict[str, str], **changes: Any) -> None:
        """Commit new metadata: `description`, `configuration`, or the columns as `struct`."""
        metadata = copy.deepcopy(self.snapshot().metadata)
        if "struct" in changes:
            metadata["schemaString"] = json.dumps(changes.pop("struct"))
        metadata.update(changes)
        self.commit(operation, parameters, [{"metaData": metadata}])

    def add_check(self, name: str, condition: str) -> None:
        """Commit a CHECK constraint, which writers enforce from then on. The existing rows must already satisfy it."""
        current = self.snapshot()
        metadata, protocol = copy.deepcopy(current.metadata), copy.deepcopy(current.protocol)
        metadata["configuration"][f"delta.constraints.{name}"] = condition
        if protocol["minWriterVersion"] < 7:
            protocol["minWriterVersion"] = max(protocol["minWriterVersion"], 3)
        else:
            protocol["writerFeatures"] = sorted({*protocol["writerFeatures"], "checkConstraints"})
        parameters = {"name": name, "expr": condition}
        self.commit("ADD CONSTRAINT", parameters, [{"protocol": protocol}, {"metaData": metadata}])

    def restore(self, version: int) -> None:
        """Commit the table as it was at a version: its rows, its columns and its properties."""
        target = self.snapshot(version)
        self._exchange(target, "RESTORE", {"version": str(version)})

    def take_over(self, source: DeltaTable, operation: str, changes: dict[str, Any]) -> None:
        """Replace this table's rows and metadata in one commit with those of another, whose data files move here."""
        target = source.snapshot()
        target.metadata.update(changes)
        for path in target.files:
            destination = self.location / path
            destination.parent.mkdir(parents=True, exist_ok=True)
            (source.location / path).rename(destination)
        self._exchange(target, operation, {"isManaged": "true"})

    def _exchange(self, target: Snapshot, operation: str, parameters: dict[str, str]) -> None:
        current, now = self.snapshot(), int(time.time() * 1000)
        removed = [
            {"remove": {"path": path, "dataChange": True, "deletionTimestamp": now, "size": add["size"],
                        "partitionValues": add["partitionValues"], "extendedFileMetadata": True}}
            for path, add in current.files.items() if path not in target.files
        ]  # fmt: skip
        added = [
            {"add": {**add, "dataChange": True}} for path, add in target.files.items() if path not in current.files
        ]
        actions: list[Action] = [{"metaData": target.metadata}, *added, *removed]
        if current.protocol != target.protocol and _is_newer(target.protocol, current.protocol):
            actions.insert(0, {"protocol": target.protocol})
        self.commit(operation, parameters, actions)

    def _path(self, version: int) -> Path:
        return self.location / "_delta_log" / f"{version:020}.json"


def _is_newer(protocol: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return True if a table with the protocol `other` must be upgraded to `protocol`. It is never downgraded."""
    return not other or protocol["minWriterVersion"] > other["minWriterVersion"]


def type_name(type_: Any) -> str:
    """Return the SQL form of a type in Delta's JSON."""
    if isinstance(type_, str):
        return SIMPLE_TYPES.get(type_, type_)
    if type_["type"] == "array":
        return f"array<{type_name(type_['elementType'])}>"
    if type_["type"] == "map":
        return f"map<{type_name(type_['keyType'])},{type_name(type_['valueType'])}>"
    fields = ",".join(f"{field['name']}:{type_name(field['type'])}" for field in type_["fields"])
    return f"struct<{fields}>"


def type_json(type_: Any) -> dict[str, Any]:
    """Return the DESCRIBE ... AS JSON form of a type in Delta's JSON."""
    if isinstance(type_, str):
        if type_.startswith("decimal("):
            precision, scale = type_[8:-1].split(",")
            return {"name": "decimal", "precision": int(precision), "scale": int(scale)}
        if type_ == "timestamp":
            return {"name": "timestamp_ltz"}
        return {"name": "string", "collation": "UTF8_BINARY"} if type_ == "string" else {"name": type_name(type_)}
    if type_["type"] == "array":
        return {"name": "array", "element_type": type_json(type_["elementType"])}
    if type_["type"] == "map":
        return {"name": "map", "key_type": type_json(type_["keyType"]), "value_type": type_json(type_["valueType"])}
    fields = [{"name": field["name"], "type": type_json(field["type"])} for field in type_["fields"]]
    return {"name": "struct", "fields": fields}
