"""Every statement that is answered by the warehouse itself, and what of it Delta then does."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from databricks.sql.exc import ServerOperationError

from local_warehouse.process import WarehouseProcess
from tests.support.local_warehouse import Ask


def rejected(ask: Ask, statement: str, error_class: str) -> None:
    with pytest.raises(ServerOperationError) as raised:
        ask(statement)
    assert str(raised.value).startswith(f"[{error_class}]"), str(raised.value)


def test_schemas(ask: Ask, schema: str) -> None:
    ask(f"create schema if not exists main.{schema}_more comment 'more'")
    ask(f"create schema if not exists `MAIN`.`{schema.upper()}_MORE`")
    rejected(ask, f"create schema {schema}_more", "SCHEMA_ALREADY_EXISTS")
    assert ask(f"show schemas in `main` like '{schema}*'") == [(schema,), (f"{schema}_more",)]
    found = f"select comment from main.information_schema.schemata where schema_name = '{schema}_more'"
    assert ask(found) == [("more",)]
    ask(f"create table {schema}_more.t as select 1 as a")
    rejected(ask, f"drop schema {schema}_more", "SCHEMA_NOT_EMPTY")
    ask(f"drop schema {schema}_more cascade")
    rejected(ask, f"select * from {schema}_more.t", "TABLE_OR_VIEW_NOT_FOUND")
    ask(f"drop schema if exists {schema}_more")
    rejected(ask, f"use {schema}_more", "SCHEMA_NOT_FOUND")


def test_catalogs(ask: Ask, schema: str) -> None:
    ask("create table kept as select 1 as a")
    ask(f"create catalog if not exists c_{schema}")
    assert (f"c_{schema}",) in ask("show catalogs")
    ask(f"use catalog c_{schema}")
    assert ask("select current_catalog(), current_schema()") == [(f"c_{schema}", "default")]
    ask("create table here as select 2 as a")
    assert ask(f"select h.a, k.a as b from here h cross join main.{schema}.kept k") == [(2, 1)]
    rejected(ask, "use catalog none", "NO_SUCH_CATALOG_EXCEPTION")


def test_a_table_is_made_from_a_query(ask: Ask) -> None:
    clauses = "comment 'it\\'s' tblproperties ('a' = 'b', c.d = 5)"
    ask(f"create table t {clauses} as select 1 as id, cast(2 as decimal(18, 2)) as d")
    assert ask("select * from t") == [(1, 2)]
    assert ask("describe t") == [("id", "int", None), ("d", "decimal(18,2)", None)]
    assert {("a", "b"), ("c.d", "5")} <= set(ask("show tblproperties t"))
    assert ask("show tblproperties t ('a')") == [("a", "b")]
    assert ("Comment", "it's", "") in ask("describe extended t")
    ask("insert into t values (null, null)")  # columns of a query may be NULL
    rejected(ask, "create table t as select 1 as id", "TABLE_OR_VIEW_ALREADY_EXISTS")
    ask("create table if not exists t as select 9 as id")
    assert ask("select count(*) from t") == [(2,)]


def test_a_table_is_replaced_in_one_commit_even_from_itself(ask: Ask) -> None:
    ask("create table t tblproperties ('a' = 'b') as select 1 as id")
    ask("create or replace table t using delta as select id, 'x' as name from t")
    assert ask("select * from t") == [(1, "x")]
    assert ("a", "b") not in ask("show tblproperties t")
    rejected(ask, "create or replace table t as select cast('x' as int) as n", "CAST_INVALID_INPUT")
    assert ask("select * from t version as of 0") == [(1,)]
    assert ask("select * from t") == [(1, "x")]
    operations = [row[3] for row in ask("describe history t")]
    assert operations == ["CREATE OR REPLACE TABLE AS SELECT", "CREATE TABLE AS SELECT"]


def test_values_have_any_line_break(ask: Ask) -> None:
    ask("create table t as select 'a\u0085b\u2028c\x1cd' as name")
    ask("insert into t values ('e\x0bf')")
    assert ask("select name from t order by name") == [("a\u0085b\u2028c\x1cd",), ("e\x0bf",)]


def test_a_table_is_made_from_columns(ask: Ask) -> None:
    ask("create table parent (id int not null, constraint pk primary key (id))")
    ask(
        """create table t (id int not null comment 'the id', name string, amount decimal(18, 2),
        constraint `fk` foreign key (id) references parent (id)) using delta"""
    )
    assert ask("describe table t")[0] == ("id", "int", "the id")
    rejected(ask, "insert into t values (null, 'x', 1)", "DELTA_NOT_NULL_CONSTRAINT_VIOLATED")
    ask("insert into t (amount, name, id) values (2, 'x', 1)")
    assert ask("select * from t") == [(1, "x", 2)]
    described = json.loads(ask("describe table extended t as json")[0][0])
    assert described["table_constraints"].startswith("[(fk,FOREIGN KEY (`id`) REFERENCES `main`.")


def test_a_partitioned_table(ask: Ask) -> None:
    ask("create table t using delta partitioned by (day) as select id, concat('d', id % 2) as day from range(4)")
    ask("create or replace table t using delta partitioned by (day) as select id, day from t where id > 0")
    assert ask("select day, count(*) from t group by day order by day") == [("d0", 1), ("d1", 2)]


def test_changes_say_how_many_rows(ask: Ask) -> None:
    ask("create table t as select id, 'x' as n from range(4)")
    assert ask("insert into t values (10, 'a'), (11, 'b')") == [(2, 2)]
    assert ask("update t set n = 'y' where id < 2") == [(2,)]
    assert ask("delete from t where id = 3") == [(1,)]
    assert ask("delete from t where id = 99") == [(0,)]
    merge = """merge into t using (select id, 'm' as n from range(1, 6)) s on t.id = s.id
        when matched and t.id = 1 then delete when matched then update set n = s.n when not matched then insert *"""
    assert ask(merge) == [(5, 1, 1, 3)]
    assert ask("insert overwrite t values (1, 'only')") == [(1, 1)]
    assert ask("select * from t") == [(1, "only")]
    rejected(ask, "merge into t using (select 1 as id union all select 1) s on t.id = s.id "
                  "when matched then update set n = 'z'",
             "DELTA_MULTIPLE_SOURCE_ROW_MATCHING_TARGET_ROW_IN_MERGE")  # fmt: skip


def test_views(ask: Ask, schema: str) -> None:
    ask("create table t as select id, 'x' as name from range(3)")
    ask("create view v as with big as (select * from t where id > 0) select big.id from big join t on t.id = big.id")
    ask(f"create or replace view w (number comment 'its number') comment 'w' as select id from {schema}.v")
    ask("insert into t values (7, 'y')")
    ask("use default")
    assert ask(f"select number from {schema}.w order by number") == [(1,), (2,), (7,)]
    assert ask(f"describe {schema}.w") == [("number", "bigint", "its number")]
    assert ("Type", "VIEW", "") in ask(f"describe extended {schema}.w")
    ask(f"alter view {schema}.w as select 5 as five")
    assert ask(f"select * from {schema}.w") == [(5,)]
    assert ask(f"show views in {schema}") == [(schema, "v", False), (schema, "w", False)]
    assert ask(f"show tables in {schema} like 't'") == [(schema, "t", False)]
    rejected(ask, f"create or replace view {schema}.v as select * from nothing_here", "TABLE_OR_VIEW_NOT_FOUND")
    rejected(ask, f"drop table {schema}.v", "WRONG_COMMAND_FOR_OBJECT_TYPE")
    rejected(ask, f"create or replace table {schema}.v as select 1 as a", "TABLE_OR_VIEW_ALREADY_EXISTS")
    rejected(ask, "create view x as select 1 as `a b`", "UNSUPPORTED_FEATURE.LOCAL_WAREHOUSE")
    ask(f"drop view {schema}.v")
    ask(f"drop view if exists {schema}.v")


def test_a_temporary_view_reads_what_is_there_now(ask: Ask, schema: str) -> None:
    ask("create table t as select 1 as id")
    ask("create or replace temporary view one as select * from t")
    ask("create or replace temporary view two as select id * 10 as ten from one")
    ask("insert into t values (2)")
    assert ask("select sum(ten) from two") == [(30,)]
    assert ask("describe two") == [("ten", "int", None)]
    assert json.loads(ask("describe extended two as json")[0][0])["columns"][0]["type"] == {"name": "int"}
    ask("merge into t using one on t.id = one.id when matched then delete")
    assert ask("select count(*) from one") == [(0,)]
    ask("drop view one")
    rejected(ask, "select * from two", "TABLE_OR_VIEW_NOT_FOUND")


def test_names_are_compared_in_any_case(ask: Ask, schema: str) -> None:
    ask("create table `MixedCase` as select 1 as `TheId`")
    assert ask(f"select theid from MAIN.{schema.upper()}.mixedcase") == [(1,)]
    assert ask("describe MIXEDCASE") == [("TheId", "int", None)]
    ask("alter table mixedCASE alter column THEID comment 'c'")
    assert ask("describe mixedcase") == [("TheId", "int", "c")]
    ask("drop table MixedCase")


def test_comments_and_properties(ask: Ask, schema: str) -> None:
    ask("create table t as select 1 as id, 2 as n")
    ask("comment on table t is 'O\\'Hara\\\\s'")
    ask("comment on column t.id is 'one'")
    ask("alter table t alter column `n` comment 'two'")
    ask("alter table t set tblproperties ('x' = '1', 'y' = '2')")
    ask("alter table t unset tblproperties ('x')")
    assert ask("describe t") == [("id", "int", "one"), ("n", "int", "two")]
    properties = dict(ask("show tblproperties t"))
    assert properties["y"] == "2" and "x" not in properties
    assert ask(f"select comment from information_schema.tables where table_schema = '{schema}'")[0] == ("O'Hara\\s",)
    ask("comment on column t.id is null")
    assert ask("describe t")[0] == ("id", "int", None)
    rejected(ask, "comment on column t.nothing is 'x'", "UNRESOLVED_COLUMN.WITH_SUGGESTION")
    assert ask("select * from t") == [(1, 2)]


def test_not_null_is_enforced_from_then_on(ask: Ask, schema: str) -> None:
    ask("create table t as select 1 as id union all select null")
    rejected(ask, "alter table t alter column id set not null", "DELTA_NOT_NULL_CONSTRAINT_VIOLATED")
    ask("delete from t where id is null")
    ask("alter table t change column id set not null")
    nullable = f"select is_nullable from information_schema.columns where table_schema = '{schema}'"
    assert ask(nullable) == [("NO",)]
    rejected(ask, "insert into t values (null)", "DELTA_NOT_NULL_CONSTRAINT_VIOLATED")
    ask("alter table t alter column id drop not null")
    ask("insert into t values (null)")


def test_constraints(ask: Ask, schema: str) -> None:
    ask("create table parent as select 1 as id")
    rejected(
        ask, "alter table parent add constraint pk primary key (id)", "UNSUPPORTED_CONSTRAINT.PRIMARY_KEY_NULLABLE"
    )
    ask("alter table parent alter column id set not null")
    ask("alter table parent add constraint pk primary key (id)")
    ask("create table t as select 1 as id")
    ask(f"alter table t add constraint fk foreign key (id) references main.{schema}.parent (id)")
    rejected(ask, "alter table t add constraint c check (id > 1)", "DELTA_NEW_CHECK_CONSTRAINT_VIOLATION")
    ask("alter table t add constraint c check (id > 0)")
    rejected(ask, "alter table t add constraint c check (id > 5)", "DELTA_CONSTRAINT_ALREADY_EXISTS")
    rejected(ask, "insert into t values (0)", "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES")
    where = f"where constraint_schema = '{schema}' order by 1"
    kinds = f"select constraint_name, constraint_type from main.information_schema.table_constraints {where}"
    assert ask(kinds) == [("fk", "FOREIGN KEY"), ("pk", "PRIMARY KEY")]
    referred = f"select unique_constraint_name from information_schema.referential_constraints {where}"
    assert ask(referred) == [("pk",)]
    ask("alter table t drop constraint c")
    ask("insert into t values (0)")
    ask("alter table parent drop constraint if exists pk cascade")
    ask("alter table parent drop constraint if exists pk cascade")
    rejected(ask, "alter table t drop constraint c", "DELTA_CONSTRAINT_DOES_NOT_EXIST")


def test_columns_are_added(ask: Ask) -> None:
    ask("create table t as select 1 as id")
    ask("alter table t add columns (name string comment 'new', amount decimal(10, 2))")
    assert ask("select * from t") == [(1, None, None)]
    ask("insert into t values (2, 'x', 3)")
    assert ask("describe t")[1:] == [("name", "string", "new"), ("amount", "decimal(10,2)", None)]
    rejected(ask, "alter table t add column name string", "FIELD_ALREADY_EXISTS")


def test_tags_and_clustering_are_kept(ask: Ask) -> None:
    ask("create table t as select 1 as id")
    ask("alter table t set tags ('owner' = 'me', 'pii')")
    ask("alter table t unset tags ('pii')")
    ask("alter table t alter column id set tags ('key' = 'yes')")
    tags = (
        "select tag_name, tag_value from system.information_schema.{} where catalog_name = 'main' and table_name = 't'"
    )
    assert ("owner", "me") in ask(tags.format("table_tags"))
    assert ("key", "yes") in ask(tags.format("column_tags"))
    ask("alter table t cluster by (id)")
    assert ("clusteringColumns", '[["id"]]') in ask("show tblproperties t")


def test_information_schema(ask: Ask, schema: str) -> None:
    ask("create table t comment 'c' as select cast(1 as bigint) as id, cast(2 as decimal(18, 2)) as d")
    ask("create view v as select id from t")
    tables = f"""select table_name, if(table_type in ('EXTERNAL', 'MANAGED'), 'table', lower(table_type)) as kind
        from `system`.`information_schema`.`tables` where table_catalog = 'main' and table_schema = '{schema}'
        order by 1"""
    assert ask(tables) == [("t", "table"), ("v", "view")]
    columns = "select full_data_type, ordinal_position from main.information_schema.columns"
    assert ask(f"{columns} where table_schema = '{schema}' and table_name = 't'") == [
        ("bigint", 0),
        ("decimal(18,2)", 1),
    ]
    views = f"select view_definition from information_schema.views where table_schema = '{schema}'"
    assert ask(views) == [(f"select id from `main`.`{schema}`.`t`",)]
    assert ask("select count(*) from information_schema.row_filters") == [(0,)]
    rejected(ask, "select 1 from none.information_schema.tables", "TABLE_OR_VIEW_NOT_FOUND")


def test_describe_as_json(ask: Ask, schema: str) -> None:
    ask("create table t comment 'c' as select 1 as id, array(named_struct('a', 1)) as s, timestamp '2026-01-05' as at")
    described = json.loads(ask(f"DESCRIBE TABLE EXTENDED `main`.`{schema}`.`t` AS JSON")[0][0])
    assert (described["catalog_name"], described["schema_name"], described["table_name"]) == ("main", schema, "t")
    assert (described["type"], described["provider"], described["comment"]) == ("MANAGED", "delta", "c")
    types = [column["type"] for column in described["columns"]]
    struct = {"name": "struct", "fields": [{"name": "a", "type": {"name": "int"}}]}
    assert types == [{"name": "int"}, {"name": "array", "element_type": struct}, {"name": "timestamp_ltz"}]
    (shown,) = ask(f"show table extended in main.{schema} like 't|x*'")
    assert shown[:3] == (schema, "t", False) and " |-- id: int (nullable = true)\n" in shown[3]
    assert ask("show columns in t") == [("id",), ("s",), ("at",)]


def test_time_travel_and_restore(ask: Ask) -> None:
    ask("create table t as select 1 as id")
    ask("insert into t values (2)")
    before = datetime.now(UTC)
    ask("alter table t add constraint positive check (id > 0)")
    ask("create or replace table t as select 'other' as name")
    assert ask("select * from t version as of 1 order by id") == [(1,), (2,)]
    assert ask("select a.id from t version as of 0 as a cross join t as b") == [(1,)]
    assert ask("restore table t to version as of 1")[0][1:4] == (2, 1, 2)
    assert ask("select * from t order by id") == [(1,), (2,)]
    assert ask("describe t") == [("id", "int", None)]
    ask("insert into t values (3)")
    ask("restore table t to version as of 3")
    assert ask("select * from t") == [("other",)]
    ask(f"restore table t to timestamp as of '{before.isoformat()}'")
    assert ask("select count(*) from t") == [(2,)]
    rejected(ask, "restore table t to version as of 99", "DELTA_VERSION_NOT_FOUND")
    rejected(ask, "restore table t to timestamp as of '2020-01-01'", "DELTA_TIMESTAMP_EARLIER_THAN_COMMIT_RETENTION")
    assert [row[3] for row in ask("describe history t limit 2")] == ["RESTORE", "RESTORE"]


def test_history_goes_on_beyond_a_checkpoint(ask: Ask) -> None:
    ask("create table t as select 0 as id")
    for number in range(1, 12):
        ask(f"insert into t values ({number})")
    ask("alter table t set tblproperties ('a' = 'b')")
    assert ask("select count(*) from t") == [(12,)]
    assert [row[0] for row in ask("describe history t")] == list(range(12, -1, -1))
    ask("restore table t to version as of 2")
    assert ask("select max(id) from t") == [(2,)]


def test_optimize_makes_one_file_of_many(warehouse: WarehouseProcess, ask: Ask) -> None:
    ask("create table t tblproperties ('kept' = 'yes') as select 0 as id")
    ask("alter table t alter column id set not null")
    for number in range(1, 4):
        ask(f"insert into t values ({number})")
    folder = Path(ask("optimize t")[0][0])
    last = max((folder / "_delta_log").glob("*.json")).read_text()
    assert last.count('"add"') == 1 and last.count('"remove"') == 4
    assert ask("select sum(id) from t") == [(6,)]
    assert ("kept", "yes") in ask("show tblproperties t")
    rejected(ask, "insert into t values (null)", "DELTA_NOT_NULL_CONSTRAINT_VIOLATED")


def test_renaming(ask: Ask) -> None:
    ask("create table t as select 1 as id")
    ask("alter table t rename to u")
    assert ask("select * from u") == [(1,)]
    rejected(ask, "select * from t", "TABLE_OR_VIEW_NOT_FOUND")


def test_volumes(ask: Ask, schema: str, warehouse: WarehouseProcess) -> None:
    ask("create volume if not exists files comment 'of files'")
    ask("create volume if not exists files")
    rejected(ask, "create volume files", "VOLUME_ALREADY_EXISTS")
    assert ask(f"show volumes in main.{schema}") == [(schema, "files")]
    (warehouse.folder / "volumes" / "main" / schema / "files" / "f.txt").write_text("x")
    ask("drop volume files")
    ask("create volume files")
    rejected(ask, f"select * from text.`/Volumes/main/{schema}/files/f.txt`", "PATH_NOT_FOUND")
    ask("drop volume files")
    rejected(ask, "drop volume files", "VOLUME_DOES_NOT_EXIST")


def test_grants_are_kept(ask: Ask, schema: str) -> None:
    ask(f"grant use schema, select on schema main.{schema} to `a b`")
    ask(f"revoke select on schema main.{schema} from `a b`")
    kept = [("a b", "USE SCHEMA", "SCHEMA", f"main.{schema}")]
    assert ask(f"show grants on schema main.{schema}") == kept
    assert ask(f"show grants `a b` on schema main.{schema}") == kept
    assert ask(f"show grants `other` on schema main.{schema}") == []


def test_settings(ask: Ask) -> None:
    assert ask("set use_cached_result = false") == [("use_cached_result", "false")]
    assert ask("set use_cached_result") == [("use_cached_result", "false")]
    ask("set time zone 'Asia/Tokyo'")
    assert ask("select timestamp '2026-01-05 09:00:00'") == [(datetime(2026, 1, 5, tzinfo=UTC),)]


def test_comments_and_strings_are_no_statements(ask: Ask) -> None:
    statement = """/* {"app": "dbt"; create table */ -- select 'x'
        select 'a -- b /* c */ ; information_schema' as s, "double" as d;"""
    assert ask(statement) == [("a -- b /* c */ ; information_schema", "double")]
    assert ask("select current_date = current_date(), current_timestamp is null") == [(True, False)]
