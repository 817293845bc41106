"""Airflow's own database in a real PostgreSQL, chosen by one variable; the pipeline's data stays where it was."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from include.settings import PROJECT_ROOT, Settings
from tests.support.airflow_home import AirflowHome
from tests.support.deliveries import account, customer, day, write_extracts
from tests.support.processes import free_port, wait_until

BINARIES = max(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=str, default=Path("initdb")).parent
VARIABLE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (BINARIES / "initdb").exists(), reason="needs Debian's package postgresql"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of an empty PostgreSQL server of this file's own, without a database's name."""
    owner = pwd.getpwnam("postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name)  # not as root
    folder = Path(tempfile.mkdtemp(prefix="lc_postgresql_"))  # pytest's own are for nobody else's eyes
    os.chown(folder, owner.pw_uid, owner.pw_gid)
    rights: dict[str, Any] = {"user": owner.pw_uid, "group": owner.pw_gid} if os.geteuid() == 0 else {}
    port = str(free_port())
    initdb = [BINARIES / "initdb", "--auth=trust", "--no-sync", "--username=postgres", "-D", folder / "data"]
    subprocess.run(initdb, cwd=folder, check=True, stdout=subprocess.DEVNULL, **rights)
    options = ["-p", port, "-k", folder, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [BINARIES / "postgres", "-D", folder / "data", *options], cwd=folder, stdout=log, stderr=log, **rights
        )
    try:
        ready = [BINARIES / "pg_isready", "-q", "-h", "127.0.0.1", "-p", port]
        wait_until(lambda: subprocess.run(ready, check=False).returncode == 0, seconds=120)
        yield f"127.0.0.1:{port}"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()
        shutil.rmtree(folder)


@pytest.fixture
def database(server: str, request: pytest.FixtureRequest) -> str:
    """The address, as Airflow takes it, of an empty database of the test's own."""
    host, port = server.split(":")
    name = request.node.name
    subprocess.run([BINARIES / "createdb", "-h", host, "-p", port, "-U", "postgres", name], check=True)
    return f"postgresql+psycopg2://postgres@{server}/{name}"


def ask(database: str, sql: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(database.replace("+psycopg2", ""))) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def test_set_up_migrates_each_database_once(database: str, tmp_path: Path) -> None:
    def set_up(**variables: str) -> str:
        environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
        return subprocess.run(
            ["scripts/migrate.sh"],
            cwd=PROJECT_ROOT,
            env={**environment, "AIRFLOW_HOME": str(tmp_path), **variables},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout

    assert "setting up" in set_up(**{VARIABLE: database})
    assert ask(database, "select count(*) from information_schema.tables where table_name = 'dag_run'") == [(1,)]
    assert not (tmp_path / "airflow.db").exists()
    assert "setting up" in set_up()
    assert (tmp_path / "airflow.db").exists()
    assert set_up(**{VARIABLE: database}) == set_up() == ""


def test_the_dag_runs_green(database: str, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    write_extracts(settings.input_path, [customer()], [account()])
    monkeypatch.setenv(VARIABLE, database)
    airflow = AirflowHome(tmp_path / "airflow", settings)
    ended = airflow.call("dags", "test", "lc_pipeline", day(5).isoformat())
    assert ask(database, "select dag_id, state from dag_run") == [("lc_pipeline", "success")], ended.stdout
    assert ask(database, "select distinct state from task_instance") == [("success",)]
    assert not (tmp_path / "airflow" / "airflow.db").exists()
