"""docker-compose.yaml as a person uses it: built, started, triggered, restarted, killed; and what is open.

Run by `make test-containers`. The tests go by their order in this file: each finds the stack as the last one left it.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from include.provenance import git_revision
from include.settings import Settings
from tests.support import expected
from tests.support.containers.stack import AIRFLOW_HOME, Stack
from tests.support.processes import wait_until
from tests.support.settings import settings_in

SERVERS = {"postgres", "api-server", "scheduler", "dag-processor", "triggerer"}
ONE_SHOTS = {"secrets", "db-migration"}
SECRETS = ("postgres_password", "redis_password", "fernet_key", "jwt_secret", "api_secret_key", "airflow_password")


def settings_of(data: Path) -> Settings:
    """Settings that read a copy of the stack's data."""
    return settings_in(data, DUCKDB_PATH=str(data / "duckdb" / "lc_pipeline.duckdb"))


def assert_tables_are_those_of(day: str, data: Path) -> None:
    for table in expected.TABLES:
        assert expected.actual_rows(settings_of(data), table) == expected.expected_rows(day, table)


def test_servers_run_and_one_shots_have_ended_well(stack: Stack) -> None:
    states = {name: container["State"] for name, container in stack.engine.services().items()}
    assert {name for name, state in states.items() if state["Running"]} == SERVERS
    assert {name for name, state in states.items() if not state["Running"] and state["ExitCode"] == 0} == ONE_SHOTS


def test_nobody_gets_in_without_the_generated_password(stack: Stack) -> None:
    assert stack.status("GET", "/api/v2/dags") == 401
    assert stack.status("POST", "/auth/token", {"username": "admin", "password": "admin"}) == 401
    stack.log_in()
    assert stack.status("GET", "/api/v2/dags") == 200


def test_dag_triggered_over_rest_leaves_exports_and_report_in_the_volume(stack: Stack, tmp_path: Path) -> None:
    stack.log_in()
    wait_until(lambda: stack.status("GET", "/api/v2/dags/lc_pipeline") == 200, seconds=300)
    assert stack.call("GET", "/api/v2/importErrors")["import_errors"] == []
    stack.call("PATCH", "/api/v2/dags/lc_pipeline", {"is_paused": False})
    stack.wait_for(stack.trigger("2026-01-05T02:00:00Z"), "success")

    data = stack.data(tmp_path / "data")
    assert_tables_are_those_of("2026-01-05", data)
    manifest = json.loads((data / "outputs" / "manifest.json").read_text())
    assert {path.name for path in (data / "outputs").glob("[!.]*")} == {*manifest["files"], "manifest.json"}
    (report,) = (data / "quality_reports").glob("quality_report_*.json")
    content = json.loads(report.read_text())
    assert content["verdict"] == "warn"
    assert content["run"]["git_revision"] == git_revision()


def test_history_outlives_the_stack_and_a_killed_scheduler_costs_nothing(stack: Stack, tmp_path: Path) -> None:
    stack.engine.down()
    stack.engine.up()
    stack.log_in()
    run = stack.trigger("2026-01-06T02:00:00Z")
    snapshot = f"{run}/taskInstances/snapshots.snap_account"
    wait_until(lambda: stack.call("GET", snapshot)["state"] == "running", seconds=900, every=0.1)  # runs for a second
    began = stack.engine.services()["scheduler"]["State"]["StartedAt"]
    stack.engine.exec("scheduler", "sh", "-c", "kill -9 -1", check=False)
    wait_until(lambda: stack.engine.services()["scheduler"]["State"]["StartedAt"] != began, seconds=180)

    stack.wait_for(run, "success")
    assert stack.call("GET", snapshot)["try_number"] == 2
    assert_tables_are_those_of("2026-01-06", stack.data(tmp_path / "data"))


@pytest.mark.parametrize("service", sorted(SERVERS))
def test_no_process_is_roots(stack: Stack, service: str) -> None:
    owners = stack.engine.exec(service, "sh", "-c", "stat -c %u /proc/[0-9]*", check=False).split()
    assert owners
    assert "0" not in owners


def test_no_port_is_open_but_the_uis_on_loopback(stack: Stack) -> None:
    published = [
        (name, port, binding["HostIp"], binding["HostPort"])
        for name, container in stack.engine.services().items()
        for port, bindings in (container["NetworkSettings"]["Ports"] or {}).items()
        for binding in bindings or ()
    ]
    assert published == [("api-server", "8080/tcp", "127.0.0.1", str(stack.port))]


def test_no_secret_is_in_a_containers_settings_or_logs(stack: Stack) -> None:
    secrets = {name: stack.secret(name) for name in SECRETS}
    assert len(set(secrets.values())) == len(SECRETS)
    for service, container in stack.engine.services().items():
        seen = json.dumps(container) + stack.engine.logs(service)
        assert [name for name, value in secrets.items() if value in seen] == [], service


@pytest.mark.parametrize("service", sorted(SERVERS))
def test_a_server_starts_again_is_limited_and_its_log_is_rotated(stack: Stack, service: str) -> None:
    host = stack.engine.services()[service]["HostConfig"]
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert 0 < host["Memory"] <= 4 * 1024**3
    log = host["LogConfig"]
    assert (log["Config"] or {}).get("max-size", log.get("Size")) in ("10m", "10MB")


def test_astro_dev_parse_finds_all_it_needs_in_the_image(stack: Stack) -> None:
    """What the Astro CLI does: copy these folders of the project into a container of the image, and start pytest."""
    engine, image = stack.engine, stack.engine.environment["LC_PIPELINE_IMAGE"]
    engine.engine("rm", "--force", "astro-pytest", check=False)
    engine.engine("create", "--name", "astro-pytest", image, "pytest", ".astro/test_dag_integrity_default.py")
    for folder in ("dags", "tests", "plugins", "include", ".astro"):
        engine.engine("cp", engine.project / folder, f"astro-pytest:{AIRFLOW_HOME}/")
    assert "2 passed" in engine.engine("start", "--attach", "astro-pytest", check=False)
    engine.engine("rm", "astro-pytest")
