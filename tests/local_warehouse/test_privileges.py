"""What the service principal may do follows from grants and ownership, as in Unity Catalog; the real clients ask."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from databricks.sdk.config import Config
from databricks.sdk.errors import PermissionDenied
from databricks.sql.client import Connection
from databricks.sql.exc import Error

from local_warehouse.process import CLIENT_ID, CLIENT_SECRET, WarehouseProcess
from tests.support.local_warehouse import Ask

Let = Callable[..., None]
USES = "use catalog on catalog main; use schema on schema {s}; "
NEEDED = {
    "select * from {s}.t": USES + "select on table {s}.t",
    "with c as (select 1 as id) select * from c join {s}.t using (id)": USES + "select on table {s}.t",
    "select * from {s}.v": USES + "select on view {s}.v",
    "select id from json.`/Volumes/main/{s}/files/f.jsonl`": USES + "read volume on volume {s}.files",
    "describe {s}.t": USES + "select on table {s}.t",
    "describe history {s}.t": USES + "select on table {s}.t",
    "show tables in {s}": USES,
    "show schemas in main": "use catalog on catalog main",
    "select * from main.information_schema.tables": "use catalog on catalog main",
    "use schema {s}": USES,
    "insert into {s}.t values (2)": USES + "modify on table {s}.t",
    "insert into {s}.t select * from {s}.v": USES + "modify on table {s}.t; select on view {s}.v",
    "update {s}.t set id = 2": USES + "select on table {s}.t; modify on table {s}.t",
    "delete from {s}.t where id = 2": USES + "select on table {s}.t; modify on table {s}.t",
    "merge into {s}.t using {s}.v as new on t.id = new.id when not matched then insert *": USES
    + "select on table {s}.t; modify on table {s}.t; select on view {s}.v",
    "restore table {s}.t to version as of 0": USES + "modify on table {s}.t",
    "optimize {s}.t": USES + "select on table {s}.t; modify on table {s}.t",
    "comment on table {s}.t is 'it'": USES + "modify on table {s}.t",
    "alter table {s}.t set tblproperties ('a' = 'b')": USES + "modify on table {s}.t",
    "alter table {s}.t set tags ('pii' = 'no')": USES + "apply tag on table {s}.t",
    "alter table {s}.t cluster by (id)": USES + "manage on table {s}.t",
    "alter table {s}.to_rename rename to {s}.renamed": USES
    + "manage on table {s}.to_rename; create table on schema {s}",
    "grant select on table {s}.t to `someone`": USES + "manage on table {s}.t",
    "create schema {s}_more": "use catalog on catalog main; create schema on catalog main",
    "create schema if not exists {s}": "use catalog on catalog main; create schema on catalog main",
    "create volume {s}.more": USES + "create volume on schema {s}",
    "create table {s}.new (id int)": USES + "create table on schema {s}",
    "create or replace table {s}.first as select * from {s}.t": USES
    + "create table on schema {s}; select on table {s}.t",
    "create view {s}.seen as select * from main.{s}.t": USES + "create table on schema {s}; select on table {s}.t",
    "create or replace table {s}.to_replace as select 2 as id": USES + "manage on table {s}.to_replace",
    "create or replace view {s}.v as select 2 as id": USES + "manage on view {s}.v",
    "drop table {s}.to_drop": USES + "manage on table {s}.to_drop",
    "drop volume {s}.to_drop": USES + "manage on volume {s}.to_drop",
    "drop schema {s}_to_drop cascade": "use catalog on catalog main; manage on schema {s}_to_drop",
}
"""What the principal executes on what is an administrator's, and what it needs for that, in the order of complaints."""


SCHEMA = "privileges"


def _ask(connection: Connection) -> Ask:
    def execute(statement: str) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return [tuple(row) for row in cursor.fetchall()]

    return execute


@pytest.fixture(scope="module")
def admin(warehouse: WarehouseProcess) -> Iterator[Ask]:
    """Execute a statement as an administrator, who owns a few things in a schema."""
    with warehouse.connect(schema=SCHEMA) as connection:
        ask = _ask(connection)
        for statement in (
            f"create schema {SCHEMA}",
            f"create schema {SCHEMA}_to_drop",
            *(f"create table {name} as select 1 as id" for name in ("t", "to_rename", "to_replace", "to_drop")),
            f"create view v as select id from main.{SCHEMA}.t",
            "create volume files",
            "create volume to_drop",
        ):
            ask(statement)
        warehouse.client().files.upload(f"/Volumes/main/{SCHEMA}/files/f.jsonl", io.BytesIO(b'{"id": 1}\n'))
        yield ask


@pytest.fixture(scope="module")
def principal(warehouse: WarehouseProcess, admin: Ask) -> Iterator[Ask]:
    """Execute a statement as the service principal, to whom nothing is granted but by `let`."""
    config = Config(host=warehouse.host, client_id=CLIENT_ID, client_secret=CLIENT_SECRET, auth_type="oauth-m2m")
    oauth = {"access_token": None, "credentials_provider": lambda: config.authenticate}
    with warehouse.connect(schema=SCHEMA, **oauth) as connection:
        yield _ask(connection)


@pytest.fixture
def let(admin: Ask) -> Iterator[Let]:
    """Grant, for the time of a test, what is written as `select on table {s}.t; ...`."""
    granted = []

    def grant(rights: str, to: str = CLIENT_ID) -> None:
        for right in filter(None, rights.format(s=SCHEMA).split("; ")):
            admin(f"grant {right} to `{to}`")
            granted.append(f"{right} from `{to}`")

    yield grant
    for right in granted:
        with suppress(Error):  # what it was granted on may be gone
            admin(f"revoke {right}")


def denied(principal: Ask, statement: str, privilege: str) -> None:
    with pytest.raises(Error, match=rf"\[INSUFFICIENT_PERMISSIONS\] .* does not have {privilege.upper()} on .*42501"):
        principal(statement)


@pytest.mark.parametrize("statement", NEEDED)
def test_a_statement_needs_each_of_its_privileges(principal: Ask, let: Let, statement: str) -> None:
    text = statement.format(s=SCHEMA)
    for right in filter(None, NEEDED[statement].split("; ")):
        denied(principal, text, right.split(" on ")[0])
        let(right)

    principal(text)


def test_a_denial_reads_as_on_databricks(principal: Ask, let: Let) -> None:
    let("use catalog on catalog main")
    said = "Insufficient privileges: User does not have CREATE SCHEMA on Catalog 'main'. SQLSTATE: 42501"
    with pytest.raises(Error, match=re.escape(f"[INSUFFICIENT_PERMISSIONS] {said}")):
        principal(f"create schema {SCHEMA}_more")
    denied(principal, "create catalog another", "create catalog")


@pytest.mark.parametrize(
    "right",
    [
        "use catalog, use schema, select on catalog main",
        "all privileges on catalog main",
        "use catalog on catalog main; use schema, select on schema {s}",
        "use catalog on catalog main; all privileges on schema {s}",
    ],
)
def test_what_is_granted_above_is_granted_below_until_it_is_revoked(
    principal: Ask, let: Let, admin: Ask, right: str
) -> None:
    let(right)
    assert principal(f"select 1 from {SCHEMA}.t limit 1") == [(1,)]
    last = right.format(s=SCHEMA).split("; ")[-1]
    admin(f"revoke {last} from `{CLIENT_ID}`")
    with pytest.raises(Error, match="INSUFFICIENT_PERMISSIONS"):
        principal(f"select * from {SCHEMA}.t")


def test_all_privileges_are_not_ownership(principal: Ask, let: Let) -> None:
    let("all privileges on catalog main")
    principal("insert into t values (2)")
    denied(principal, "create or replace table t as select 2 as id", "manage")
    denied(principal, "drop table t", "manage")


def test_what_is_granted_to_account_users_is_granted_to_everybody(principal: Ask, let: Let) -> None:
    let("use catalog, use schema, select on catalog main", to="account users")
    assert principal("select 1 from t limit 1") == [(1,)]


def test_who_makes_a_table_owns_it(principal: Ask, let: Let, admin: Ask) -> None:
    let(USES + "create table on schema {s}")
    principal("create table mine as select 1 as id")
    admin(f"revoke create table on schema {SCHEMA} from `{CLIENT_ID}`")

    for statement in (
        "insert into mine values (2)",
        "restore table mine to version as of 0",
        "create or replace table mine as select 3 as id",
        "grant select on table mine to `someone`",
    ):
        principal(statement)
    admin("create or replace table mine as select 4 as id")
    assert principal("select * from mine") == [(4,)]
    assert principal("show grants on table mine") == [("someone", "SELECT", "TABLE", f"main.{SCHEMA}.mine")]
    owner = f"select table_owner from main.information_schema.tables where table_schema = '{SCHEMA}'"
    assert admin(f"{owner} and table_name = 'mine'") == [(CLIENT_ID,)]
    principal("drop table mine")


def test_owners_of_a_schema_make_and_drop_in_it_and_read_what_is_theirs(principal: Ask, let: Let, admin: Ask) -> None:
    let("use catalog, create schema on catalog main")
    principal("create schema if not exists its_own")
    principal("create table its_own.mine as select 1 as id")
    assert principal("select * from its_own.mine") == [(1,)]
    admin("create table its_own.other as select 1 as id")
    denied(principal, "select * from its_own.other", "select")
    principal("drop table its_own.other")
    principal("drop schema its_own cascade")


@pytest.mark.parametrize("words", ["owner to", "set owner to"])
def test_ownership_is_handed_over(principal: Ask, let: Let, admin: Ask, words: str) -> None:
    let("use catalog on catalog main")
    for statement in (
        "create schema given",
        "create table given.t as select 1 as id",
        "create view given.v as select id from main.given.t",
        "create volume given.files",
    ):
        admin(statement)
    denied(principal, f"alter schema given {words} `{CLIENT_ID}`", "manage")
    for what in ("schema given", "table given.t", "view given.v", "volume given.files"):
        admin(f"alter {what} {words} `{CLIENT_ID}`")

    assert principal("select * from given.v") == [(1,)]
    principal("insert into given.t values (2)")
    admin(f"alter table given.t {words} `another`")
    denied(principal, "insert into given.t values (2)", "modify")
    denied(principal, "select * from given.v", "select")  # a view has its owner's rights, and no more
    principal("drop schema given cascade")


def test_a_dropped_table_takes_its_grants_along(principal: Ask, let: Let, admin: Ask) -> None:
    admin("create table again (id int)")
    let(USES + "select on table {s}.again")
    assert principal("select * from again") == []
    admin("drop table again")
    admin("create table again (id int)")
    denied(principal, "select * from again", "select")


def test_files_need_the_volumes_privileges(warehouse: WarehouseProcess, principal: Ask, let: Let, admin: Ask) -> None:
    files = warehouse.client(client_id=CLIENT_ID, client_secret=CLIENT_SECRET).files
    folder = f"/Volumes/main/{SCHEMA}/files"
    reads = (
        lambda: files.download(f"{folder}/f.jsonl"),
        lambda: files.get_metadata(f"{folder}/f.jsonl"),
        lambda: list(files.list_directory_contents(folder)),
    )
    writes = (
        lambda: files.create_directory(f"{folder}/more"),
        lambda: files.upload(f"{folder}/more/g", io.BytesIO(b"x")),
        lambda: files.delete(f"{folder}/more/g"),
        lambda: files.delete_directory(f"{folder}/more"),
    )
    for calls, privilege in ((reads, "read volume"), (writes, "write volume")):
        for right in ("use catalog on catalog main", "use schema on schema {s}", f"{privilege} on volume {{s}}.files"):
            for call in calls:
                # An answer to HEAD has no words.
                with pytest.raises(
                    PermissionDenied, match=rf"does not have {right.split(' on ')[0].upper()} on|^Forbidden"
                ):
                    call()
            let(right)
        for call in calls:
            call()
        admin(f"revoke use catalog on catalog main from `{CLIENT_ID}`")
        admin(f"revoke use schema on schema {SCHEMA} from `{CLIENT_ID}`")


def test_who_asks_is_told(warehouse: WarehouseProcess, principal: Ask, admin: Ask) -> None:
    query = "select current_user(), 'current_user()'"
    assert admin(query) == [("local@warehouse", "current_user()")]
    assert principal(query) == [(CLIENT_ID, "current_user()")]
    assert warehouse.client().current_user.me().user_name == "local@warehouse"
    client = warehouse.client(client_id=CLIENT_ID, client_secret=CLIENT_SECRET)
    assert client.current_user.me().user_name == CLIENT_ID
