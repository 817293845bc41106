"""A report as one HTML page beside its JSON, and the index of all pages.

`python -m include.quality.page [REPORT]` writes the page of a report, by default of the newest, and prints its path.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache, partial
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from pydantic import ValidationError

from include.entities import ENTITIES
from include.errors import run_command
from include.files import replacing
from include.ledger import time_text
from include.quality.flow import lanes
from include.quality.report import Report, TrendEntry, newest_report
from include.quality.verdict import PROBLEM_STATUSES
from include.settings import load_settings
from include.ui import PLAIN_KEY

TEMPLATES = Path(__file__).with_name("templates")
INDEX_PAGE = "index.html"
INDEX_ENTRIES = "index.jsonl"
"""The entries of the index, one TrendEntry per line. It is kept because a report's trend has only the last runs."""
INDEXED_RUNS = 366

TEXT_LIMIT = 1000
"""How many characters of a text the page shows. The JSON has all of them."""
DETAILED_FINDINGS = 12
"""How many findings are shown with rows and SQL. The others are listed by layer, and the JSON has all of them."""
SQL_SHARE = 18_000
"""How many characters of SQL a page may have in total, shared by the detailed findings."""
LISTED_REASONS = 40

STATUS_WORDS = {
    "pass": "pass",
    "warn": "warn",
    "fail": "fail",
    "error": "error",
    "skipped": "skipped",
    "not_run": "not run",
}
STATUS_FILLS = {"pass": "pass", "warn": "warn", "fail": "fail", "error": "fail", "skipped": "quiet", "not_run": "line"}
OUTCOME_WORDS = {
    "landed": "landed",
    "resumed": "resumed: landed by an earlier run",
    "unchanged": "unchanged: already processed",
    "refused": "refused",
}

_NOT_TO_BE_SEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\uffff"
    "\ud800-\udfff]|\r(?!\n)"
)
"""Control characters, marks that change the direction of text, and characters that HTML or XML forbids."""


def page_of(report_path: Path) -> Path:
    """Return the path of a report's page, which may not exist."""
    return report_path.with_suffix(".html")


def write_pages(report: Report, report_path: Path) -> Path:
    """Write the page of a report that has been written, and the index of the reports' folder; return the page's path.

    If the page can't be written, the page of an earlier try is removed. Raises OSError.
    """
    page = page_of(report_path)
    try:
        _replace(page, render_report(report, report_path))
    except Exception:
        with suppress(OSError):
            page.unlink(missing_ok=True)
        raise
    entries = _index_entries(report, report_path.parent)
    lines = (entry.model_dump_json() + "\n" for entry in entries)
    _replace(report_path.with_name(INDEX_ENTRIES), "".join(lines))
    _replace(report_path.with_name(INDEX_PAGE), render_index(entries, report_path.parent))
    return page


def render_report(report: Report, report_path: Path) -> str:
    """Return a report's page. `report_path` is the path of its JSON, in the folder of the other runs' pages."""
    found = [node for node in (*report.models, *report.tests) if node.status in PROBLEM_STATUSES]
    findings = sorted(found, key=lambda node: PROBLEM_STATUSES.index(node.status))
    template = environment().get_template("page.html.j2")
    return template.render(
        report=report,
        lanes=lanes(report),
        findings=findings,
        json_name=report_path.name,
        link=partial(_link, report_path.parent),
        detailed_findings=DETAILED_FINDINGS,
        sql_limit=max(SQL_SHARE // max(len(findings), 4), SQL_SHARE // DETAILED_FINDINGS),
        listed_reasons=LISTED_REASONS,
    )


def render_index(entries: Iterable[TrendEntry], folder: Path) -> str:
    """Return the page that lists the runs. `entries` are newest first, `folder` has their reports."""
    template = environment().get_template("index.html.j2")
    return template.render(entries=list(entries), limit=INDEXED_RUNS, link=partial(_link, folder))


def _index_entries(report: Report, folder: Path) -> list[TrendEntry]:
    """Return the runs whose reports are in the folder, newest first.

    They come from the previous index and from the report's own trend, because the index may be lost or may lack the
    report of a killed run.
    """
    known: dict[str, TrendEntry] = {}
    with suppress(OSError):
        for line in (folder / INDEX_ENTRIES).read_bytes().splitlines():
            with suppress(ValidationError):  # from another version, or damaged
                entry = TrendEntry.model_validate_json(line)
                known[entry.report] = entry
    known |= {entry.report: entry for entry in report.trend}
    there = {path.name for path in folder.iterdir()}
    entries = [entry for entry in known.values() if entry.report in there]
    return sorted(entries, key=lambda entry: entry.generated_at, reverse=True)[:INDEXED_RUNS]


def _replace(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@cache
def environment() -> Environment:
    """Return Jinja2's environment for the pages, which caches the compiled templates."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: cut(value) if isinstance(value, str) else value,
    )
    environment.filters |= {
        "cut": cut,
        "bars": bars,
        "num": number,
        "money": money,
        "signed": signed,
        "when": when,
        "secs": seconds,
        "size": size,
        "share": share,
        "sentence": sentence,
    }
    environment.globals |= {
        "KEY_COLUMNS": {entity.key: entity.name for entity in ENTITIES},
        "is_plain_key": lambda key: PLAIN_KEY.fullmatch(key) is not None,
        "STATUS_WORDS": STATUS_WORDS,
        "STATUS_FILLS": STATUS_FILLS,
        "OUTCOME_WORDS": OUTCOME_WORDS,
        "style": Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")),  # noqa: S704 - our own file
    }
    return environment


def _link(folder: Path, entry: TrendEntry) -> str | None:
    """Return the relative address of a run's page, or else of its report, or None if both are gone."""
    report = Path(entry.report).name
    names = (page_of(Path(report)).name, report)
    return next((quote(name) for name in names if (folder / name).is_file()), None)


def cut(text: str, limit: int = TEXT_LIMIT) -> Markup:
    """Return the beginning of a text for HTML. Invisible characters and direction marks are made visible."""
    if isinstance(text, Markup):
        return text
    shown = _NOT_TO_BE_SEEN.sub(lambda match: f"⟨U+{ord(match[0][0]):04X}⟩", text[:limit])
    return escape(shown if len(text) <= limit else f"{shown} … ({len(text):,} characters)")


def bars(values: Iterable[float | Decimal | None], slots: int) -> list[tuple[str, str, str]]:
    """Return x, y and height of a bar for each value except None and 0, in the last of `slots` (10 wide, 40 high)."""
    numbers = [float(value or 0) for value in values]
    first, largest = slots - len(numbers), max(numbers, default=0)
    heights = [max(38 * number / largest, 2) if number > 0 else 0 for number in numbers]
    return [
        (f"{10 * (first + place) + 1.5:g}", f"{39 - height:.1f}", f"{height:.1f}")
        for place, height in enumerate(heights)
        if height
    ]


def number(value: int) -> str:
    """Return a count with thousands separators."""
    return f"{value:,}"


def money(amount: Decimal) -> str:
    """Return an amount with both its places and thousands separators."""
    return f"{amount:,.2f}".replace("-", "\N{MINUS SIGN}")


def signed(value: Decimal | int) -> str:
    """Return a difference with its sign; of an amount, with both places."""
    text = f"{value:+,.2f}" if isinstance(value, Decimal) else f"{value:+,}"
    return text.replace("-", "\N{MINUS SIGN}") if value else "0.00" if isinstance(value, Decimal) else "0"


def when(time: datetime, *, exact: bool = True) -> Markup:
    """Return a time in UTC for HTML: to the minute, or more exact if it has seconds."""
    time = time.astimezone(UTC)
    text = f"{time.day} {time:%b %Y, %H:%M}"
    if exact and (time.second or time.microsecond):
        text += ":" + f"{time:%S.%f}".rstrip("0").rstrip(".")
    return Markup('<time datetime="{}">{} UTC</time>').format(time_text(time), text)


def seconds(value: float) -> str:
    """Format a duration."""
    if value < 9.95:
        return f"{value:.1f} s"
    whole = round(value)
    return f"{whole} s" if whole < 60 else f"{whole // 60:,} min {whole % 60:02d} s"


def size(count: int) -> str:
    """Return a number of bytes."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} bytes"


def share(value: float) -> str:
    """Return a share as a percentage that is never rounded to 0 or 100 %."""
    if 0 < value < 0.0001:
        return "< 0.01 %"
    if 0.9999 < value < 1:
        return "> 99.99 %"
    return f"{100 * value:.2f}".rstrip("0").rstrip(".") + " %"


def sentence(text: str) -> str:
    """Return a text that ends with a full stop and begins with a capital letter, unless it begins with a name."""
    begins = text[:1].upper() + text[1:] if re.match(r"[a-z]+[ :]", text) else text
    return begins if text.endswith((".", "!", "?")) else f"{begins}."


def main(arguments: list[str] | None = None) -> int:
    """Write a page and print its path; return 0, or 1 with one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m include.quality.page", description=__doc__)
    parser.add_argument("report", nargs="?", type=Path, help="a report's JSON file; default: the newest")
    options = parser.parse_args(arguments)

    def write() -> None:
        path = options.report or newest_report(load_settings().data_quality_report_path)
        print(write_pages(Report.load(path), path))

    return run_command(write)


if __name__ == "__main__":
    sys.exit(main())
