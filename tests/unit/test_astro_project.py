"""What the Astro CLI and Astro's runtime expect of the project's files, as read in the CLI's source."""

from __future__ import annotations

import re
import shlex
from importlib.metadata import version

import pytest
import yaml
from packaging.requirements import Requirement

from include.settings import PROJECT_ROOT

REQUIREMENTS = [
    line
    for line in (PROJECT_ROOT / "requirements.txt").read_text().splitlines()
    if line.strip() and not line.startswith("#")
]
ASTRO_SERVICES = {"postgres", "db-migration", "scheduler", "dag-processor", "api-server", "triggerer"}


def compose(name: str) -> dict[str, dict[str, object]]:
    services: dict[str, dict[str, object]] = yaml.safe_load((PROJECT_ROOT / name).read_text())["services"]
    return services


@pytest.mark.parametrize("line", REQUIREMENTS)
def test_the_runtimes_build_does_not_refuse_a_requirement(line: str) -> None:
    assert not re.fullmatch(r"apache-airflow\s*[=~>]{1,2}.*", line)


@pytest.mark.parametrize("line", REQUIREMENTS)
def test_what_the_image_installs_is_what_is_tested_here(line: str) -> None:
    requirement = Requirement(line)
    assert requirement.specifier.contains(version(requirement.name))


@pytest.mark.parametrize("runtimes_airflow", ["3.3.0", "3.3.1+astro.1", "3.3.2+astro.3"])
def test_airflow_of_the_runtime_meets_the_requirement(runtimes_airflow: str) -> None:
    (airflow,) = (Requirement(line) for line in REQUIREMENTS if Requirement(line).name == "apache-airflow")
    assert airflow.specifier.contains(runtimes_airflow)


def test_the_first_from_spells_out_the_runtime() -> None:
    """`astro dev start --standalone` takes the versions of Airflow and Python from it."""
    first = re.findall(r"^FROM (.*)$", (PROJECT_ROOT / "Dockerfile").read_text(), re.M)[0]
    assert re.fullmatch(r"[a-z0-9./]+/runtime:3\.3-\d+-python-3\.12 AS runtime", first)


def test_the_image_sets_what_env_sh_sets() -> None:
    dockerfile = (PROJECT_ROOT / "Dockerfile").read_text()
    assignments = re.findall(r"^(?:ENV|   ) ([A-Z_]+)=(.+?)(?: \\)?$", dockerfile, re.M)
    image = {name: shlex.split(value)[0] for name, value in assignments if name != "GIT_REVISION"}  # a build argument
    shell = (PROJECT_ROOT / "env.sh").read_text()
    local = {
        name: re.sub(r"^\$\{\w+:-(.*)\}$", r"\1", shlex.split(value)[0]).replace("$PWD", "/usr/local/airflow")
        for name, value in re.findall(r"^export (\w+)=(.+)$", shell, re.M)
    }
    assert len(image) > 5
    assert image == {name: local.get(name) for name in image}


def test_compose_has_astros_services_so_that_one_override_serves_both() -> None:
    assert compose("docker-compose.yaml").keys() >= ASTRO_SERVICES
    assert compose("docker-compose.override.yml").keys() <= ASTRO_SERVICES


def test_what_shows_reports_and_what_sends_alerts_sees_the_volume_that_the_tasks_write() -> None:
    mounts = {name: service["volumes"] for name, service in compose("docker-compose.override.yml").items()}
    assert mounts.keys() == {"api-server", "dag-processor", "scheduler"}
    assert {volumes[0] for volumes in mounts.values()} == {"data:/usr/local/airflow/data"}


def test_every_server_of_the_compose_file_has_a_health_check_and_a_memory_limit() -> None:
    for name, service in compose("docker-compose.yaml").items():
        assert "mem_limit" in service, name
        assert ("healthcheck" in service) is (service["restart"] != "no"), name


def test_no_secret_stands_in_the_compose_files() -> None:
    for name in ("docker-compose.yaml", "docker-compose.override.yml", "airflow_settings.yaml"):
        text = (PROJECT_ROOT / name).read_text()
        values = re.findall(r"(?i)(?:password|secret|key|_conn|token)(?:_cmd|_file|s_file)?: (\S+)", text)
        assert [value for value in values if not value.startswith(("cat", "/run/secrets/", "/usr/local/", "{"))] == []
