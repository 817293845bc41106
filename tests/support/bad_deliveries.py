"""Deliveries that have to be refused as wholes: how each is made, and what its error has to say."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.support.deliveries import ACCOUNTS_HEADER, CUSTOMERS_HEADER, account, customer, write_extracts

NUMBERS = [str(number) for number in range(1, 9)]
CUSTOMERS = [customer(number, name=f"Ünï {number}", has_loan="yes") for number in NUMBERS]
ACCOUNTS = [account(f"0{number}", customer_id=number, balance=f"{number}00.00") for number in NUMBERS]
DROP_PCT = "45"
"""MAX_ROW_DROP_PCT, so that a file cut in half is refused."""


@dataclass(frozen=True)
class Bad:
    """How a good delivery is spoilt, given the path of one of its files, and a regular expression for the error."""

    file: str
    spoil: Callable[[Path], object]
    error: str

    def write(self, folder: Path) -> None:
        write_extracts(folder, [*CUSTOMERS, customer("9", name="Nine")], ACCOUNTS)
        self.spoil(folder / f"{self.file}.csv")


def written(content: str | bytes, encoding: str = "utf-8") -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))


def replaced(old: str, new: str, count: int = -1) -> Callable[[Path], object]:
    return lambda path: path.write_text(path.read_text().replace(old, new, count), newline="")


def respelt(key: str, spelling: str) -> Callable[[Path], object]:
    """Write the key of each record, which matches the regular expression `key`, in another way."""
    return lambda path: path.write_text(re.sub(rf"(?m)^{key},", f"{spelling},", path.read_text()), newline="")


def recoded(encoding: str) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(path.read_text().encode(encoding))


def cut(share: float) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def make_unreadable(path: Path) -> None:
    if os.geteuid():
        path.chmod(0)
    else:  # root may read everything but this
        path.unlink()
        path.symlink_to("/proc/self/mem")


def move_to_the_folder_of_the_day(path: Path) -> None:
    (path.parent / "2026-01-06").mkdir()
    path.rename(path.parent / "2026-01-06" / path.name)


def link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


MISSING = "is missing: expected the full extract"
EMPTY = "is empty: expected the header"
NO_RECORDS = "has a header and no records: expected the full extract"
CUSTOMER_COLUMNS = f"expected the columns {CUSTOMERS_HEADER}, found "
NO_HEADER = r"expected the columns .*, found none of them in the first line\. Is the header missing\?"

BAD_DELIVERIES = {
    "customers missing": Bad("customers", Path.unlink, MISSING),
    "accounts missing": Bad("accounts", Path.unlink, MISSING),
    "a link to itself": Bad("customers", link_to_itself, rf"{MISSING} \(Too many levels of symbolic links\)"),
    "a directory": Bad("accounts", lambda path: (path.unlink(), path.mkdir()), "is not a file: expected the full"),
    "unreadable": Bad("customers", make_unreadable, r"can't be read: expected the full extract \(\w+"),
    "one file in the day's folder": Bad("accounts", move_to_the_folder_of_the_day, r"2026-01-06 has no customers\.csv"),
    "zero bytes": Bad("customers", written(""), EMPTY),
    "a byte order mark alone": Bad("accounts", written("\ufeff"), EMPTY),
    "empty lines alone": Bad("customers", written("\n\r\n\n"), EMPTY),
    "header only": Bad("customers", written(CUSTOMERS_HEADER), NO_RECORDS),
    "header and empty lines": Bad("accounts", written(f"{ACCOUNTS_HEADER}\r\n\r\n"), NO_RECORDS),
    "UTF-16": Bad("customers", recoded("utf-16"), "is UTF-16: expected UTF-8"),
    "UTF-16 without a mark": Bad("accounts", recoded("utf-16-be"), "line 1: found a NUL byte, expected text in UTF-8"),
    "latin-1": Bad("customers", recoded("latin-1"), "line 2: byte 0xdc at offset 26 is not UTF-8, which is expected"),
    "gzip": Bad("customers", lambda path: path.write_bytes(gzip.compress(path.read_bytes())), "line 1: "),
    "cut within a character": Bad("customers", written(f"{CUSTOMERS_HEADER}\n1,Ü".encode()[:-1]), "line 2: byte 0xc3"),
    "a NUL byte": Bad("accounts", replaced("07", "0\0"), "line 8: found a NUL byte, expected text in UTF-8"),
    "semicolons": Bad("customers", replaced(",", ";"), r"Are the fields separated by ';' in place of a comma\?"),
    "tabs": Bad("accounts", replaced(",", "\t"), r"Are the fields separated by '\\t' in place of a comma\?"),
    "a column too few": Bad("customers", replaced(",HasLoan", "", 1), f"{CUSTOMER_COLUMNS}.*: HasLoan is missing"),
    "a renamed column": Bad(
        "accounts", replaced("Balance", "Saldo"), "Balance is missing. Is 'Saldo' the new name of Balance\\?"
    ),
    "a column twice": Bad("customers", replaced("Name", "Name, NAME "), "Name is there 2 times"),
    "a misspelt column": Bad(
        "customers", replaced("CustomerID", "Customer ID"), r"Is 'Customer ID' the new name of CustomerID\?"
    ),
    "an unnamed column": Bad(
        "customers",
        lambda path: (replaced("HasLoan", "HasLoan,")(path), replaced("yes", "yes,x")(path)),
        "column 4 has no name in the header, but a value in record 1",
    ),
    "200 columns": Bad(
        "accounts", written(",".join(f"c{n}" for n in range(200)) + "\n"), NO_HEADER
    ),
    "no header": Bad("customers", replaced(f"{CUSTOMERS_HEADER}\n", ""), NO_HEADER),
    "a broken header": Bad("accounts", replaced("Balance", '"Balance'), r"the header is malformed \(unclosed quote\)"),
    "carriage returns alone": Bad("customers", replaced("\n", "\r"), "the header is malformed .carriage return"),
    "the other file": Bad("customers", written(f"{ACCOUNTS_HEADER}\nA1,1,2,savings\n"), "Name is missing; HasLoan"),
    "a web page": Bad("accounts", written("<!DOCTYPE html>\n<html>502 Bad Gateway</html>\n"), NO_HEADER),
    "JSON": Bad("customers", written('[{"CustomerID": 1, "Name": "Ada"}]'), NO_HEADER),
    "a line of 100 MB": Bad("customers", written(b"x" * 100_000_000), NO_HEADER),
    "a header of 100 MB": Bad(
        "customers", written(b"CustomerID," + b"x" * 100_000_000), rf"{CUSTOMER_COLUMNS}CustomerID,x{{189}}\.\.\.: "
    ),
    "cut in half": Bad(
        "accounts", cut(0.5), rf"lacks 5 of the 8 .*, more than MAX_ROW_DROP_PCT \({DROP_PCT} %\)"
    ),
    "no keys": Bad("customers", written(CUSTOMERS_HEADER + "\n , Ada,yes" * 9), "lacks 8 of the 8 values"),
    "ids as pandas writes them beside a missing one": Bad(
        "customers", respelt(r"(\d+)", r"\1.0"), r"lacks 8 of the 8 values of customer_id .*\(for example 1, 2, 3\)"
    ),
    "account ids as numbers": Bad(
        "accounts", respelt(r"0(\d+)", r"\1"), r"lacks 8 of the 8 values of account_id .*for example '01', '02', '03'"
    ),
    "other keys": Bad("accounts", respelt(r"0(\d+)", r"B\1"), "lacks 8 of the 8 values of account_id"),
}  # fmt: skip
