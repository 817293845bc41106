"""Exports of real DuckDB tables: the files, that they are replaced together, and what a crash leaves."""

from __future__ import annotations

import json
import re
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from include import exports
from include.exports import FILES, ExportError, publish_exports, write_exports
from include.warehouse.duckdb import DuckDBWarehouse
from tests.support.deliveries import day
from tests.support.mounts import mounted


@pytest.fixture
def warehouse(tmp_path: Path) -> DuckDBWarehouse:
    path = tmp_path / "marts.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute("""
            create schema main_marts;
            create table main_marts.account_summary as
            select 'b"1' as account_id, 2::bigint as customer_id, 100.5::decimal(18, 2) as original_balance_amount,
                timestamp '2026-01-05 02:00:00.000001' as calculated_at
            union all select 'B,2', 1, 0, timestamp '2026-01-05 02:00:00';
            create table main_marts.customer_profile as
            select range + 1 as customer_id, 'élodie' || chr(10) || 'b' as customer_name,
                range % 2 = 0 as has_loan_flag, timestamp '2026-01-05 02:00:00' as calculated_at
            from range(12);
        """)
    return DuckDBWarehouse(path)


def test_csv_is_quoted_where_needed_ordered_by_key_and_in_utc(warehouse: DuckDBWarehouse, tmp_path: Path) -> None:
    write_exports(warehouse, tmp_path / "out", run_id="one")
    publish_exports(tmp_path / "out", run_id="one", delivered_at=day(5))

    assert (tmp_path / "out" / "account_summary.csv").read_bytes().decode() == (
        "account_id,customer_id,original_balance_amount,calculated_at\n"
        '"B,2",1,0.00,2026-01-05T02:00:00.000000Z\n'
        '"b""1",2,100.50,2026-01-05T02:00:00.000001Z\n'
    )
    profile = (tmp_path / "out" / "customer_profile.csv").read_text()
    assert profile.startswith('customer_id,customer_name,has_loan_flag,calculated_at\n1,"élodie\nb",true,2026-01-05T')
    keys = pq.read_table(tmp_path / "out" / "customer_profile.parquet")["customer_id"].to_pylist()
    assert keys == list(range(1, 13))


@pytest.mark.parametrize("names", [["o'\", b"], ["'bob\n'", "c", '", d'], ["#1", '\\"']])
def test_names_that_hold_quotes_do_not_change_how_rows_are_counted(
    warehouse: DuckDBWarehouse, tmp_path: Path, names: list[str]
) -> None:
    with duckdb.connect(warehouse.path) as connection:
        connection.execute("delete from main_marts.customer_profile")
        for number, name in enumerate(names):
            connection.execute("insert into main_marts.customer_profile values (?, ?, true, now())", [number, name])
    write_exports(warehouse, tmp_path / "out", run_id="one")

    manifest = json.loads(publish_exports(tmp_path / "out", run_id="one", delivered_at=day(5)).read_text())

    assert manifest["files"]["customer_profile.csv"]["rows"] == len(names)


def test_a_row_of_several_megabytes_is_exported_too(warehouse: DuckDBWarehouse, tmp_path: Path) -> None:
    with duckdb.connect(warehouse.path) as connection:
        connection.execute("insert into main_marts.customer_profile select 99, repeat('ann ', 800000), true, now()")
    write_exports(warehouse, tmp_path / "out", run_id="one")

    manifest = json.loads(publish_exports(tmp_path / "out", run_id="one", delivered_at=day(5)).read_text())

    assert manifest["files"]["customer_profile.csv"]["rows"] == 13


def test_nothing_is_visible_before_it_is_published(warehouse: DuckDBWarehouse, tmp_path: Path) -> None:
    write_exports(warehouse, tmp_path / "out", run_id="one")

    assert [path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")] == []


def test_publishing_replaces_all_files_and_their_manifest(warehouse: DuckDBWarehouse, tmp_path: Path) -> None:
    output = tmp_path / "out"
    for run_id in ("one", "two"):
        write_exports(warehouse, output, run_id=run_id)
        publish_exports(output, run_id=run_id, delivered_at=day(5))
        with duckdb.connect(warehouse.path) as connection:
            connection.execute("delete from main_marts.account_summary where customer_id = 2")

    manifest = json.loads((output / "manifest.json").read_text())
    assert manifest["run_id"] == "two"
    assert manifest["delivered_at"] == "2026-01-05T02:00:00.000000Z"
    assert {name: manifest["files"][name]["rows"] for name in FILES} == {
        "account_summary.csv": 1,
        "account_summary.parquet": 1,
        "customer_profile.csv": 12,
        "customer_profile.parquet": 12,
    }
    assert len((output / "account_summary.csv").read_text().splitlines()) == 2


def test_a_reader_that_has_opened_the_old_files_can_read_them_to_the_end(
    warehouse: DuckDBWarehouse, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    write_exports(warehouse, output, run_id="one")
    publish_exports(output, run_id="one", delivered_at=day(5))
    with (output / "account_summary.csv").open() as reader:
        for run_id in ("two", "three", "four"):
            write_exports(warehouse, output, run_id=run_id)
            publish_exports(output, run_id=run_id, delivered_at=day(5))
        assert len(reader.readlines()) == 3
    assert len(list((output / ".versions").iterdir())) == 2


def test_as_many_exports_are_kept_as_are_asked_for(warehouse: DuckDBWarehouse, tmp_path: Path) -> None:
    output = tmp_path / "out"
    for number in range(5):
        write_exports(warehouse, output, run_id=f"run_{number}")
        publish_exports(output, run_id=f"run_{number}", delivered_at=day(5 + number), keep=3)

    kept = [json.loads((version / "manifest.json").read_text()) for version in (output / ".versions").iterdir()]
    assert {manifest["run_id"] for manifest in kept} == {"run_2", "run_3", "run_4"}


def test_publishing_again_after_it_was_cut_off_ends_the_same(
    warehouse: DuckDBWarehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    write_exports(warehouse, output, run_id="one")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(exports, "_link", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        publish_exports(output, run_id="one", delivered_at=day(5))

    publish_exports(output, run_id="one", delivered_at=day(5))

    assert json.loads((output / "manifest.json").read_text())["run_id"] == "one"
    assert all((output / name).exists() for name in FILES)


def test_a_run_that_has_not_written_every_file_is_not_published(warehouse: DuckDBWarehouse, tmp_path: Path) -> None:
    write_exports(warehouse, tmp_path / "out", run_id="one")
    (tmp_path / "out" / ".staging" / "one" / "account_summary.csv").unlink()

    with pytest.raises(ExportError, match=r"has not written account_summary\.csv: export again"):
        publish_exports(tmp_path / "out", run_id="one", delivered_at=day(5))


def test_csv_and_parquet_that_differ_in_rows_are_not_published(warehouse: DuckDBWarehouse, tmp_path: Path) -> None:
    write_exports(warehouse, tmp_path / "out", run_id="one")
    with duckdb.connect(warehouse.path) as connection:
        connection.execute("delete from main_marts.account_summary where customer_id = 2")
    write_exports(warehouse, tmp_path / "out", run_id="fewer")
    staging = tmp_path / "out" / ".staging"
    (staging / "fewer" / "account_summary.parquet").replace(staging / "one" / "account_summary.parquet")

    with pytest.raises(ExportError, match=r"account_summary disagree in rows \(\{'csv': 2, 'parquet': 1\}\)"):
        publish_exports(tmp_path / "out", run_id="one", delivered_at=day(5))


def test_a_run_that_has_written_nothing_is_not_published(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="run none has not written any exports"):
        publish_exports(tmp_path / "out", run_id="none", delivered_at=day(5))


def test_a_file_that_stands_where_a_link_belongs_is_replaced(warehouse: DuckDBWarehouse, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "account_summary.csv").write_text("copied here by hand")
    write_exports(warehouse, tmp_path / "out", run_id="one")

    publish_exports(tmp_path / "out", run_id="one", delivered_at=day(5))

    assert (tmp_path / "out" / "account_summary.csv").read_text().startswith("account_id,")


def test_stray_files_beside_the_versions_are_no_versions(warehouse: DuckDBWarehouse, tmp_path: Path) -> None:
    output = tmp_path / "out"
    versions = output / ".versions"
    versions.mkdir(parents=True)
    for name in (".DS_Store", ".nfs0001", "Thumbs.db"):
        (versions / name).touch()
    (versions / "@eaDir").mkdir()

    for run_id in ("one", "two", "three", "three"):
        if run_id != "three" or not (versions / "000003").exists():
            write_exports(warehouse, output, run_id=run_id)
        publish_exports(output, run_id=run_id, delivered_at=day(5))
        assert json.loads((output / "manifest.json").read_text())["run_id"] == run_id

    assert sorted(path.name for path in versions.iterdir()) == [
        ".DS_Store", ".nfs0001", "000002", "000003", "@eaDir", "Thumbs.db",
    ]  # fmt: skip


def test_versions_are_counted_past_their_six_digits(warehouse: DuckDBWarehouse, tmp_path: Path) -> None:
    for version in ("999998", "999999"):
        (tmp_path / "out" / ".versions" / version).mkdir(parents=True)
    for run_id in ("one", "two"):
        write_exports(warehouse, tmp_path / "out", run_id=run_id)
        publish_exports(tmp_path / "out", run_id=run_id, delivered_at=day(5))

    assert sorted(path.name for path in (tmp_path / "out" / ".versions").iterdir()) == ["1000000", "1000001"]


def test_exports_are_written_and_counted_where_the_path_means_something_to_a_reader(
    warehouse: DuckDBWarehouse, tmp_path: Path
) -> None:
    write_exports(warehouse, tmp_path / "axb", run_id="one")
    with duckdb.connect(warehouse.path) as connection:
        connection.execute("delete from main_marts.account_summary where customer_id = 2")

    for folder in ("a[x]b", "a*b", "customer_id=7"):  # as patterns, the first two match axb
        write_exports(warehouse, tmp_path / folder, run_id="one")
        publish_exports(tmp_path / folder, run_id="one", delivered_at=day(5))
        files = json.loads((tmp_path / folder / "manifest.json").read_text())["files"]
        assert {name: files[name]["rows"] for name in ("account_summary.csv", "account_summary.parquet")} == {
            "account_summary.csv": 1,
            "account_summary.parquet": 1,
        }


def test_a_disk_that_fills_up_is_an_error_that_names_the_file(warehouse: DuckDBWarehouse, tmp_path: Path) -> None:
    with duckdb.connect(warehouse.path) as connection:
        connection.execute("insert into main_marts.customer_profile select 100 + range, range::varchar, true, "
                           "timestamp '2026-01-05' from range(50000)")  # fmt: skip
    with mounted(tmp_path / "out", "size=64k") as output, pytest.raises(ExportError) as error:
        write_exports(warehouse, output, run_id="one")

    assert re.fullmatch(
        rf"{output}/\.staging/one/customer_profile\.parquet can't be written: .*No space left on device.*",
        str(error.value),
    )


def test_text_that_a_spreadsheet_takes_for_a_formula_is_exported_as_it_is(
    warehouse: DuckDBWarehouse, tmp_path: Path
) -> None:
    with duckdb.connect(warehouse.path) as connection:
        connection.execute("update main_marts.customer_profile set customer_name = '=1+1' where customer_id = 1")
    write_exports(warehouse, tmp_path / "out", run_id="one")
    publish_exports(tmp_path / "out", run_id="one", delivered_at=day(5))

    assert "\n1,=1+1,true," in (tmp_path / "out" / "customer_profile.csv").read_text()
