"""Every setting of Airflow that a guide, a script or a compose file names is one that the installed Airflow knows."""

from __future__ import annotations

import re
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.settings import PROJECT_ROOT

NAMED = re.compile(r"\bAIRFLOW__([A-Z0-9]+(?:_[A-Z0-9]+)*)__([A-Z0-9]+(?:_[A-Z0-9]+)*)\b")
FILES = [
    PROJECT_ROOT / "env.sh",
    PROJECT_ROOT / ".env.example",
    *PROJECT_ROOT.glob("docker-compose*.y*ml"),
    *PROJECT_ROOT.glob("Dockerfile*"),
    *PROJECT_ROOT.glob("*.md"),
    *(PROJECT_ROOT / "docs").rglob("*.md"),
    *(PROJECT_ROOT / "scripts").glob("*.sh"),
]

# Cosmos reads its options with fallbacks and describes them nowhere that a program could read.
COSMOS = {"enable_telemetry", "cache_dir", "dbt_docs_projects"}

# Of providers that are not installed here; read in their get_provider_info.py (cncf.kubernetes 10.x).
NOT_INSTALLED = {
    ("kubernetes_executor", name)
    for name in ("pod_template_file", "worker_container_repository", "worker_container_tag", "namespace")
}


def named_in(text: str) -> set[tuple[str, str]]:
    return {(section.lower(), key.lower()) for section, key in NAMED.findall(text)}


def as_described(option: tuple[str, str], known: dict[tuple[str, str], str | None]) -> tuple[str, str]:
    """An option's value may also be what a command prints, or what a secrets backend knows: KEY_CMD, KEY_SECRET."""
    section, key = option
    return option if option in known else (section, re.sub("_(cmd|secret)$", "", key))


@pytest.fixture(scope="module")
def known() -> dict[tuple[str, str], str | None]:
    """Each option that Airflow and its installed providers describe, with the version that deprecated it."""
    import airflow

    template = Path(airflow.__file__).parent / "config_templates" / "config.yml"
    described: dict[str, Any] = dict(yaml.safe_load(template.read_text()))
    options = [(section, name, of) for section, its in described.items() for name, of in its["options"].items()]
    for distribution in distributions():
        for entry in distribution.entry_points.select(group="apache_airflow_provider"):
            for section, its in entry.load()().get("config", {}).items():
                options += [(section, name, of) for name, of in its["options"].items()]
    return {
        **{("cosmos", name): None for name in COSMOS},
        **dict.fromkeys(NOT_INSTALLED),
        **{(section, name.lower()): of.get("version_deprecated") for section, name, of in options},
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PROJECT_ROOT)))
def test_a_setting_that_is_named_exists(path: Path, known: dict[tuple[str, str], str | None]) -> None:
    named = {as_described(option, known) for option in named_in(path.read_text())}
    assert {option for option in named if option not in known} == set()
    assert {option for option in named if known[option]} == set(), "deprecated"


def test_the_settings_of_an_airflow_that_is_not_there_would_be_found_out(
    known: dict[tuple[str, str], str | None],
) -> None:
    """The two halves of the test above can tell: of Airflow 2, deprecated, of a provider."""
    assert ("webserver", "base_url") not in known
    assert known["metrics", "otel_host"]
    assert ("celery", "broker_url") in known
    assert named_in("AIRFLOW__API__BASE_URL=x, `AIRFLOW__CORE__EXECUTOR`") == {
        ("api", "base_url"),
        ("core", "executor"),
    }
