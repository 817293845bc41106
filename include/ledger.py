"""The ledger of the landing: one line per delivery, the latest last."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal, get_args

from include.entities import ENTITIES
from include.errors import PipelineError
from include.files import replacing

State = Literal["landed", "processed", "discarded"]
FILE_NAMES = tuple(entity.file for entity in ENTITIES)
LEDGER = "ledger.jsonl"
FINISHED = "__finished"
"""The suffix of the run id under which a later run finishes a delivery that another run has landed."""


class LedgerError(PipelineError):
    """The ledger can't be read. The message names the file and the line."""


@dataclass(frozen=True)
class FileRecord:
    """One landed file: its path in the landing, and what was received. `undeclared` are the undeclared headers."""

    path: str
    sha256: str
    bytes: int
    rows: int
    distinct_keys: int
    undeclared: tuple[str, ...] = ()


@dataclass(frozen=True)
class Delivery:
    """A pair of landed files. Times are aware, in UTC; `delivered_at` is the logical date, or later in a correction."""

    logical_date: datetime
    delivered_at: datetime
    state: State
    run_id: str
    customers: FileRecord
    accounts: FileRecord

    def file(self, name: str) -> FileRecord:
        """Return the record of `customers` or `accounts`."""
        record: FileRecord = getattr(self, name)
        return record

    def has_undeclared(self, file: str, header: str) -> bool:
        """Return True if a file had this undeclared column, ignoring case."""
        return header.lower() in (name.lower() for name in self.file(file).undeclared)

    def to_json(self) -> dict[str, Any]:
        """Return its line in the ledger: flat, with times as text, so that SQL can read it without unnesting."""
        line: dict[str, Any] = {
            "logical_date": time_text(self.logical_date),
            "delivered_at": time_text(self.delivered_at),
            "state": self.state,
            "run_id": self.run_id,
        }
        for name in FILE_NAMES:
            line |= {f"{name}_{field}": value for field, value in asdict(self.file(name)).items()}
        return line

    @staticmethod
    def from_json(line: dict[str, Any]) -> Delivery:
        """Read the output of to_json(). Raises KeyError, TypeError or ValueError on anything else."""
        files = {
            name: FileRecord(
                path=line[f"{name}_path"],
                sha256=line[f"{name}_sha256"],
                bytes=line[f"{name}_bytes"],
                rows=line[f"{name}_rows"],
                distinct_keys=line[f"{name}_distinct_keys"],
                undeclared=tuple(line.get(f"{name}_undeclared", ())),
            )
            for name in FILE_NAMES
        }
        if line["state"] not in get_args(State):
            raise ValueError(f"state is {line['state']!r}")
        return Delivery(
            logical_date=datetime.fromisoformat(line["logical_date"]),
            delivered_at=datetime.fromisoformat(line["delivered_at"]),
            state=line["state"],
            run_id=line["run_id"],
            customers=files["customers"],
            accounts=files["accounts"],
        )


def time_text(time: datetime) -> str:
    """Format an aware time in UTC with microseconds, so that text sorts like time: 2026-01-05T02:00:00.000000Z."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Ledger:
    """The deliveries of a landing, oldest first. A change writes the whole file and renames it."""

    path: Path
    entries: tuple[Delivery, ...]

    @staticmethod
    def load(landing: Path) -> Ledger:
        """Read the ledger of a landing; empty if there is none yet. Raises LedgerError."""
        path = landing / LEDGER
        try:
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        except UnicodeDecodeError as error:
            raise LedgerError(f"{path}: not a ledger ({error})") from error
        entries = []
        for number, line in enumerate(lines, start=1):
            try:
                entries.append(Delivery.from_json(json.loads(line)))
            except (KeyError, TypeError, ValueError) as error:
                raise LedgerError(f"{path}, line {number}: not an entry of the ledger ({error!r})") from error
        return Ledger(path, tuple(entries))

    @property
    def last(self) -> Delivery | None:
        """The delivery in progress, or the last one processed."""
        return self.entries[-1] if self.entries else None

    @property
    def last_processed(self) -> Delivery | None:
        """The last processed delivery, which tables and exports show when none is in progress."""
        return next((entry for entry in reversed(self.entries) if entry.state == "processed"), None)

    @property
    def processed(self) -> tuple[Delivery, ...]:
        """All deliveries that are part of the history, without those that were replaced before they were processed."""
        return tuple(entry for entry in self.entries if entry.state == "processed")

    def processed_before(self, delivery: Delivery) -> Delivery | None:
        """Return the delivery whose tables the given one started from."""
        return next((entry for entry in reversed(self.processed) if entry.delivered_at < delivery.delivered_at), None)

    @property
    def discarded_by_last(self) -> Delivery | None:
        """The unfinished delivery that the last one replaced."""
        before = self.entries[-2] if len(self.entries) > 1 else None
        return before if before and before.state == "discarded" else None

    @property
    def unfinished(self) -> Delivery | None:
        """The delivery that was landed but not processed yet."""
        return self.last if self.last and self.last.state == "landed" else None

    def undeclared_since(self, file: str, header: str) -> Delivery | None:
        """Return the delivery since which a file has had this undeclared column without interruption."""
        history = (entry for entry in reversed(self.entries) if entry.state != "discarded")
        having = list(takewhile(lambda entry: entry.has_undeclared(file, header), history))
        return having[-1] if having else None

    def append(self, delivery: Delivery) -> Ledger:
        """Add a delivery, which is the commit point of its ingestion. An unfinished delivery is discarded by it."""
        given_up = (replace(entry, state="discarded") if entry.state == "landed" else entry for entry in self.entries)
        return self._write((*given_up, delivery))

    def mark_processed(self) -> Ledger:
        """Mark the last delivery as processed: tables and exports show it."""
        if self.last is None:
            raise LedgerError(f"{self.path} has no delivery that could be closed")
        return self._write((*self.entries[:-1], replace(self.last, state="processed")))

    def _write(self, entries: tuple[Delivery, ...]) -> Ledger:
        with replacing(self.path) as temporary:
            temporary.write_text("".join(json.dumps(entry.to_json()) + "\n" for entry in entries), encoding="utf-8")
        return Ledger(self.path, entries)
