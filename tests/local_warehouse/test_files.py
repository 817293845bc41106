"""The Files API of volumes, through the SDK; and what SQL reads of volumes."""

from __future__ import annotations

import io
import json
import random
import socket
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import AlreadyExists, BadRequest, NotFound
from databricks.sql.exc import ServerOperationError

from local_warehouse.process import WarehouseProcess
from tests.support.local_warehouse import Ask

PART = 64 * 1024
LARGE = random.Random(5).randbytes(5 * PART + 17)


@pytest.fixture
def client(warehouse: WarehouseProcess) -> WorkspaceClient:
    """The SDK, sending files above 100 kB in parts."""
    client = warehouse.client()
    config = client.files._config
    config.files_ext_multipart_upload_min_stream_size = 100_000
    config.files_ext_multipart_upload_part_size_options = [PART]
    return client


@pytest.fixture
def volume(schema: str, ask: Ask) -> str:
    ask("create volume landing")
    return f"/Volumes/main/{schema}/landing"


def test_a_file_comes_back_as_it_went(client: WorkspaceClient, volume: str) -> None:
    path = f"{volume}/a folder/ü 100%.csv"
    client.files.upload(path, io.BytesIO(b"first"))
    with pytest.raises(AlreadyExists):
        client.files.upload(path, io.BytesIO(b"second"))
    with pytest.raises(AlreadyExists):
        client.files.upload(path, io.BytesIO(b"second"), overwrite=False)
    client.files.upload(path, io.BytesIO(b"third"), overwrite=True)
    assert client.files.download(path).contents.read() == b"third"
    metadata = client.files.get_metadata(path)
    assert metadata.content_length == 5 and metadata.last_modified
    client.files.delete(path)
    for missing in (client.files.download, client.files.get_metadata, client.files.delete):
        with pytest.raises(NotFound):
            missing(path)


@pytest.mark.parametrize("parallel", [True, False])
def test_a_large_file_goes_up_in_parts(
    warehouse: WarehouseProcess, client: WorkspaceClient, volume: str, tmp_path: Path, parallel: bool
) -> None:
    (tmp_path / "large").write_bytes(LARGE)
    client.files.upload_from(f"{volume}/large", str(tmp_path / "large"), use_parallel=parallel, part_size=PART)
    client.files.upload(f"{volume}/stream", io.BytesIO(LARGE), use_parallel=parallel, part_size=PART)
    for name in ("large", "stream"):
        client.files.download_to(f"{volume}/{name}", str(tmp_path / "back"))
        assert (tmp_path / "back").read_bytes() == LARGE
    assert not list((warehouse.folder / "uploads").iterdir())


def test_an_upload_that_is_given_up_leaves_nothing(
    warehouse: WarehouseProcess, client: WorkspaceClient, volume: str
) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 3 * PART:
                raise OSError("the disk is gone")
            return super().read(size)

    with pytest.raises(OSError, match="the disk is gone"):
        client.files.upload(f"{volume}/broken", Broken(LARGE), use_parallel=False, part_size=PART)
    assert list(client.files.list_directory_contents(volume)) == []
    assert not list((warehouse.folder / "uploads").iterdir())


def test_a_put_that_breaks_off_changes_nothing(
    warehouse: WarehouseProcess, client: WorkspaceClient, volume: str
) -> None:
    client.files.upload(f"{volume}/file", io.BytesIO(b"before"))
    host, port = warehouse.host.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"PUT /api/2.0/fs/files{volume}/file?overwrite=true HTTP/1.1\r\nHost: {host}\r\n"
        head += f"Authorization: Bearer {warehouse.token}\r\nContent-Length: 1000\r\n\r\n"
        connection.sendall(head.encode() + b"half of it")
    assert client.files.download(f"{volume}/file").contents.read() == b"before"


def test_directories(client: WorkspaceClient, volume: str) -> None:
    client.files.create_directory(f"{volume}/one/two")
    client.files.create_directory(f"{volume}/one/two")
    client.files.get_directory_metadata(f"{volume}/one")
    client.files.upload(f"{volume}/one/file", io.BytesIO(b"12345"))
    entries = client.files.list_directory_contents(f"{volume}/one", page_size=1)
    assert [(entry.name, entry.is_directory, entry.file_size, entry.path) for entry in entries] == [
        ("file", False, 5, f"{volume}/one/file"),
        ("two", True, None, f"{volume}/one/two"),
    ]
    with pytest.raises(BadRequest, match="not empty"):
        client.files.delete_directory(f"{volume}/one")
    client.files.delete_directory(f"{volume}/one/two")
    with pytest.raises(NotFound):
        client.files.get_directory_metadata(f"{volume}/one/two")


def test_there_is_no_file_outside_a_volume(client: WorkspaceClient, volume: str) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        client.files.upload(f"{volume}_2/file", io.BytesIO(b"x"))
    with pytest.raises(BadRequest, match="Invalid path"):
        client.files.upload("/Volumes/main/file", io.BytesIO(b"x"))


def test_sql_reads_volumes(client: WorkspaceClient, volume: str, ask: Ask) -> None:
    table, file = pa.table({"id": [1, 2], "name": ["a", "b"]}), io.BytesIO()
    pq.write_table(table, file)
    client.files.upload(f"{volume}/rows/1.parquet", io.BytesIO(file.getvalue()))
    client.files.upload(f"{volume}/rows/2.parquet", io.BytesIO(file.getvalue()))
    lines = "".join(json.dumps({"k": k}) + "\n" for k in "xyz")
    client.files.upload(f"{volume}/lines.jsonl", io.BytesIO(lines.encode()))
    assert ask(f"select count(*), sum(id) from parquet.`{volume}/rows`") == [(4, 6)]
    assert ask(f"select count(*) from parquet.`{volume}/rows/*.parquet`") == [(4,)]
    assert ask(f"select name from parquet.`{volume}/rows/1.parquet` where id = 2") == [("b",)]
    assert ask(f"select k from json.`{volume}/lines.jsonl` order by k") == [("x",), ("y",), ("z",)]
    assert ask(f"select count(*) from text.`{volume}/lines.jsonl`") == [(3,)]
    assert ask(f"select count(*) from read_files('{volume}/rows', format => 'parquet')") == [(4,)]
    ask(f"create table kept as select * from parquet.`{volume}/rows/1.parquet`")
    assert ask("select * from kept order by id") == [(1, "a"), (2, "b")]


def test_sql_refuses_what_is_not_there_or_not_in_a_volume(client: WorkspaceClient, volume: str, ask: Ask) -> None:
    client.files.upload(f"{volume}/file.txt", io.BytesIO(b"x"))
    for path in (f"{volume}/nothing.parquet", f"{volume}/../x", f"{volume}/*.parquet", f"{volume}_2"):
        with pytest.raises(ServerOperationError, match="PATH_NOT_FOUND"):
            ask(f"select * from parquet.`{path}`")
    with pytest.raises(ServerOperationError, match="Sail makes no view"):
        ask(f"create view v as select * from text.`{volume}`")
    with pytest.raises(ServerOperationError, match="only paths in volumes"):
        ask("select * from text.`/etc/passwd`")
