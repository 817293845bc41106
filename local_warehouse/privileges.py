"""Unity Catalog's privileges: what a statement needs, and whether the user has it. The administrator needs none.

Every privilege also needs USE CATALOG and USE SCHEMA on the object's catalog and schema. A user has a privilege through
a grant on the object, its schema or its catalog, or as the owner of the object. The owners of its schema and catalog
also have MANAGE (to drop, alter and grant), but must grant themselves anything else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_warehouse import sql
from local_warehouse.catalog import Catalog, Securable
from local_warehouse.contract import ADMIN, StatementFailed
from local_warehouse.registry import compiled, unsupported

if TYPE_CHECKING:
    from local_warehouse.sessions import WarehouseSession

EVERYBODY = "account users"
PARTS = {"CREATE CATALOG": 0, "USE CATALOG": 1, "CREATE SCHEMA": 1, "USE SCHEMA": 2, "CREATE TABLE": 2,
         "CREATE VOLUME": 2}  # fmt: skip
"""On how many parts of the object's name a privilege is needed. Other privileges are needed on the object itself."""

NEEDS = tuple(
    (compiled(pattern), tuple(filter(None, needed.split(", "))))
    for pattern, needed in (
        (r"create (?P<kind>catalog)(?: if not exists)? (?P<name>NAME)", "CREATE CATALOG"),
        (r"create (?P<kind>schema|database)(?: if not exists)? (?P<name>NAME)", "CREATE SCHEMA"),
        (r"create (?P<kind>volume)(?: if not exists)? (?P<name>NAME)", "CREATE VOLUME"),
        (r"create(?: or replace)? temp(?:orary)? view NAME", ""),
        (r"create (?P<replace>or replace )(?P<kind>table|view) (?P<name>NAME)", "CREATE TABLE"),
        (r"create (?P<kind>table|view)(?: if not exists)? (?P<name>NAME)", "CREATE TABLE"),
        (r"drop (?P<kind>schema|database|table|view|volume)(?: if exists)? (?P<name>NAME)", "MANAGE"),
        (r"alter (?P<kind>table|view) (?P<name>NAME)(?: alter column \S+)? (?:un)?set tags", "APPLY TAG"),
        (
            r"alter (?P<kind>table|view) (?P<name>NAME) (?:(?:alter|change|add) column|(?:un)?set tblproperties)",
            "MODIFY",
        ),
        (r"alter (?P<kind>table|view) (?P<name>NAME) rename to (?P<new>NAME)", "MANAGE"),
        (r"alter (?P<kind>catalog|schema|database|table|view|volume) (?P<name>NAME)", "MANAGE"),
        (r"comment on column (?P<name>NAME)\s*\.", "MODIFY"),
        (r"comment on (?P<kind>table|view) (?P<name>NAME)", "MODIFY"),
        (r"comment on (?P<kind>schema|database|volume) (?P<name>NAME)", "MANAGE"),
        (r"insert (?:into|overwrite)(?: table)? (?P<name>NAME)", "MODIFY"),
        (r"(?:merge into|update|delete from|optimize) (?P<name>NAME)", "SELECT, MODIFY"),
        (r"restore (?:table )?(?P<name>NAME)", "MODIFY"),
        (r"(?:grant|revoke) .+? on (?:(?P<kind>catalog|schema|database|table|view|volume) )?(?P<name>NAME)", "MANAGE"),
        (r"(?:describe|desc) history (?P<name>NAME)", "SELECT"),
        (r"(?:describe|desc)(?: table)?(?: extended| formatted)? (?P<name>NAME)", "SELECT"),
        (r"show (?:columns (?:in|from)|tblproperties) (?P<name>NAME)", "SELECT"),
        (r"show table extended (?:in|from) (?P<schema>NAME)", "USE SCHEMA"),
        (r"show (?:tables|views|volumes)(?: (?:in|from) (?P<schema>NAME))?", "USE SCHEMA"),
        (r"show (?:schemas|databases)(?: (?:in|from) (?P<catalog>NAME))?", "USE CATALOG"),
        (r"use catalog (?P<catalog>NAME)", "USE CATALOG"),
        (r"use (?:(?:schema|database) )?(?P<schema>NAME)", "USE SCHEMA"),
        (r"(?=set\b|show\b|select\b|with\b|values\b|table\b|from\b|explain\b|\()", ""),
    )
)
"""How a statement begins, and the privileges that it needs on the object that it names there. The first match counts.

In addition, everything that the statement reads needs SELECT or READ VOLUME.
"""


def require(session: WarehouseSession, bare: str) -> None:
    """Raise StatementFailed if the session's user may not execute a statement."""
    if session.user == ADMIN:
        return
    match, needed = next(((match, needed) for pattern, needed in NEEDS if (match := pattern.match(bare))), (None, ()))
    if match is None:
        raise unsupported("privileges.py does not say what this statement needs", bare)
    found = match.groupdict()
    kind = next((kind for kind in ("catalog", "schema") if kind in found), (found.get("kind") or "table").lower())
    written = found.get("name") or found.get(kind)
    if needed and not (kind in ("table", "view") and written and _is_temporary(session, sql.parts(written))):
        path = session.path(kind, written)
        if found.get("replace") and len(session.catalog.lineage(kind, path)) == len(path):
            needed = ("MANAGE",)
        _demand(session, session.user, kind, path, *needed)
    if found.get("new"):
        _demand(session, session.user, kind, session.name(found["new"]), "CREATE TABLE")
    _demand_reads(session, session.user, bare[match.end() :])


def missing(catalog: Catalog, user: str, kind: str, path: tuple[str, ...], *needed: str) -> str | None:
    """Return a sentence with the first privilege that a user lacks for an object, or None.

    An object that doesn't exist is no error here: the statement itself will report it.
    """
    for privilege in ("USE CATALOG", *(["USE SCHEMA"] if len(path) == 3 else []), *needed):
        of = path[: PARTS.get(privilege, len(path))]
        lineage = catalog.lineage(kind, of)
        if user != ADMIN and len(lineage) == len(of) and not _holds(lineage, user, privilege):
            what = ("Metastore", "Catalog", "Schema", "Volume" if kind == "volume" else "Table")[len(of)]
            return f"User does not have {privilege} on {what} '{'.'.join(of)}'."
    return None


def _holds(lineage: list[Securable], user: str, privilege: str) -> bool:
    granted = {held for each in lineage for principal in (user, EVERYBODY) for held in each.grants.get(principal, ())}
    if privilege == "MANAGE":
        return "MANAGE" in granted or any(each.owner == user for each in lineage)
    return bool({privilege, "ALL PRIVILEGES"} & granted) or any(each.owner == user for each in lineage[-1:])


def _is_temporary(session: WarehouseSession, parts: list[str]) -> bool:
    return len(parts) == 1 and parts[0] in session.temporary_views


def _demand(session: WarehouseSession, user: str, kind: str, path: tuple[str, ...], *needed: str) -> None:
    if lacking := missing(session.catalog, user, kind, path, *needed):
        raise StatementFailed("INSUFFICIENT_PERMISSIONS", f"Insufficient privileges: {lacking}", "42501")


def _demand_reads(session: WarehouseSession, user: str, text: str) -> None:
    """Raise StatementFailed if a user may not read what a text reads. A view reads with its owner's privileges."""
    for volume in sql.volumes(text):
        _demand(session, user, "volume", volume, "READ VOLUME")
    for written in sql.read_names(text):
        parts = sql.parts(written)
        if "information_schema" in parts[:-1]:
            _demand(session, user, "catalog", (parts[0] if len(parts) == 3 else session.current_catalog,))
        elif not _is_temporary(session, parts):
            name = session.name(written)
            relation = session.catalog.find(name)
            if relation:
                _demand(session, user, "table", name, "SELECT")
            if relation and relation.query is not None:
                _demand_reads(session, relation.owner, relation.query)
