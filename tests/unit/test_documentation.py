"""The documents against what they are about: links, commands, settings, the data dictionary, the report's schema."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from include.dbt.manifest import build_manifest, manifest_path
from include.quality.report import SCHEMA_PATH, schema_text
from include.settings import PROJECT_ROOT, SettingsError, load_settings
from scripts import data_dictionary, data_quality_guide
from tests.support.documents import RUN_DOCUMENTS, anchors, blocks, code, documents, prose
from tests.support.settings import DATABRICKS

DOCUMENTS = {str(path.relative_to(PROJECT_ROOT)): path.read_text(encoding="utf-8") for path in documents()}
CONFIGURATION = DOCUMENTS["docs/guides/configuration.md"]


def shown_settings() -> dict[str, list[str]]:
    """Return the tables of the configuration guide: of each variable, type, default, effect and error."""
    rows = re.findall(r"^\| `([A-Z_]+)` \|(.*)\|$", CONFIGURATION, flags=re.MULTILINE)
    return {name: [cell.strip() for cell in cells.split("|")] for name, cells in rows}


class Recorded(dict[str, str]):
    """An environment that knows which variables it was asked for."""

    def __init__(self, environ: dict[str, str]) -> None:
        super().__init__(environ)
        self.asked: set[str] = set()

    def get(self, name: str, default: str = "") -> str:  # type: ignore[override]
        self.asked.add(name)
        return super().get(name, default)


def test_the_data_dictionary_is_what_the_manifest_says() -> None:
    build_manifest()
    manifest = json.loads(manifest_path().read_text(encoding="utf-8"))

    assert DOCUMENTS["docs/architecture/data_dictionary.md"] == data_dictionary.dictionary(manifest), (
        "run `make docs` and commit what it writes"
    )


def test_the_list_of_tests_is_what_the_manifest_says() -> None:
    build_manifest()
    manifest = json.loads(manifest_path().read_text(encoding="utf-8"))
    document = DOCUMENTS["docs/DATA_QUALITY_GUIDE.md"]

    assert document == data_quality_guide.guide(document, manifest), "run `make docs` and commit what it writes"


def test_the_published_schema_of_the_report_is_what_its_types_say() -> None:
    assert SCHEMA_PATH.read_text(encoding="utf-8") == schema_text(), "run `make docs` and commit what it writes"


def test_the_data_dictionary_describes_and_types_every_column() -> None:
    rows = [
        line.split(" | ")
        for line in DOCUMENTS["docs/architecture/data_dictionary.md"].splitlines()
        if line.startswith("| ") and line.count(" | ") == 3
    ]

    assert len(rows) > 60
    assert [row for row in rows if not (row[0].strip("| ") and row[1].strip() and row[2].strip())] == []


def test_guide_example_and_code_name_the_same_settings() -> None:
    environ = Recorded(DATABRICKS)
    load_settings(environ)
    example = re.findall(r"^([A-Z_]+)=", (PROJECT_ROOT / ".env.example").read_text(), flags=re.MULTILINE)

    assert shown_settings().keys() == environ.asked
    assert {name for name in example if not name.startswith("AIRFLOW_")} == environ.asked


def test_the_guide_shows_the_defaults_of_the_example() -> None:
    example = (PROJECT_ROOT / ".env.example").read_text()

    assert {name: row[1].strip("`") for name, row in shown_settings().items()} == {
        name: value
        for name, value in re.findall(r"^([A-Z_]+)=(.*)$", example, flags=re.MULTILINE)
        if not name.startswith("AIRFLOW_")
    }


@pytest.mark.parametrize("name", [name for name, row in shown_settings().items() if row[3].startswith("`")])
def test_a_wrong_value_gives_the_error_that_the_guide_shows(name: str) -> None:
    message = shown_settings()[name][3].strip("`")
    environ = DATABRICKS if name.startswith("DATABRICKS") else {}
    found = re.search(r"but is '(.*)'$", message)
    if found:
        environ = {**environ, name: found[1]}
    elif name == "DATABRICKS_TOKEN":
        environ = {**environ, "DATABRICKS_CLIENT_ID": "client", "DATABRICKS_CLIENT_SECRET": "secret"}
    elif name.startswith("DATABRICKS_CLIENT"):
        other = {"DATABRICKS_CLIENT_ID", "DATABRICKS_CLIENT_SECRET"} - {name}
        environ = {**environ, "DATABRICKS_TOKEN": "", other.pop(): "given"}
    else:
        environ = {**environ, name: ""}

    with pytest.raises(SettingsError) as error:
        load_settings(environ)

    assert str(error.value) == message


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_relative_link_and_anchor_leads_somewhere(document: str) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(DOCUMENTS[document])):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (PROJECT_ROOT / document).parent / name if name else PROJECT_ROOT / document
        is_there = path.exists() and (not anchor or anchor in anchors(path.read_text(encoding="utf-8")))
        if not is_there:
            broken.append(target)

    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_that_a_document_names_is_there(document: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT_ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    missing = []
    for line in code(DOCUMENTS[document]):
        for target in re.findall(r"(?:^|[;&|(] *|[A-Z_]+=\S* )make ([a-z][a-z-]*)", line.strip()):
            if target not in targets:
                missing.append(f"make {target}")
        for module in re.findall(r"python -m ([a-z_.]+)", line):
            if find_spec(module) is None:
                missing.append(f"python -m {module}")
        for script in re.findall(r"(?:^|\s)(scripts/\w+\.(?:py|sh))\b", line):
            if not (PROJECT_ROOT / script).exists():
                missing.append(script)

    assert missing == []


@pytest.mark.parametrize("document", RUN_DOCUMENTS)
def test_every_command_is_in_a_shell_block_that_is_run_or_says_why_not(document: str) -> None:
    """A block without a language would be neither: those show output."""
    text = DOCUMENTS[document]
    found = blocks(text)
    marks = text.count("<!-- not run")

    assert {block.language for block in found} <= {"sh", "mermaid", ""}
    commands = r"^(?:make|python|airflow|dbt|pytest|\. \./env\.sh)(?!\S)"
    assert [block.text for block in found if not block.language and re.search(commands, block.text, re.MULTILINE)] == []
    assert [block.line for block in found if block.not_run and block.language != "sh"] == []
    assert sum(bool(block.not_run) for block in found) == marks, (
        "a mark stands on the line before a block, with a reason"
    )
    assert any(block.language == "sh" and not block.not_run for block in found)


@pytest.mark.parametrize("document", RUN_DOCUMENTS)
def test_a_reason_names_only_documents_and_tests_that_are_there(document: str) -> None:
    reasons = [block.not_run for block in blocks(DOCUMENTS[document]) if block.not_run]
    named = [path for reason in reasons for path in re.findall(r"[\w/]+\.(?:py|md)\b", reason)]

    assert [path for path in named if not (PROJECT_ROOT / path).exists()] == []


def test_the_index_leads_to_every_document() -> None:
    folder = PROJECT_ROOT / "docs"
    index = DOCUMENTS["docs/README.md"] + DOCUMENTS["docs/decisions/README.md"].replace("](0", "](decisions/0")
    linked = {(folder / target.partition("#")[0]).resolve() for target in re.findall(r"\]\(([^)\s]+)\)", index)}
    named = {(PROJECT_ROOT / name).resolve() for name in DOCUMENTS if Path(name).parts[0] == "docs"}

    assert sorted(str(path.relative_to(PROJECT_ROOT)) for path in named - linked - {folder / "README.md"}) == []


def test_the_messages_in_the_execution_guide_are_those_of_the_code() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in sorted((PROJECT_ROOT / "include").rglob("*.py")))
    texts = re.sub(r'"\s*f?"', "", sources)  # a message that goes on in the next line
    table = DOCUMENTS["PIPELINE_EXECUTION_GUIDE.md"].partition("## When something fails")[2]
    symptoms = "\n".join(line.split("|")[1] for line in table.splitlines() if line.startswith("|"))
    messages = [message for message in code(symptoms) if " " in message]
    pieces = [piece.strip() for message in messages for piece in message.split("...") if " " in piece.strip()]

    assert len(pieces) > 8
    assert [piece for piece in pieces if piece not in texts] == []
