"""The report's page and the index: complete, small, self-contained, and harmless whatever a report holds."""

from __future__ import annotations

import logging
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from html import unescape
from itertools import count, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest
from pydantic import BaseModel

from include.ingestion import IngestionError
from include.pipeline import ingest_delivery, write_report
from include.quality.page import INDEX_ENTRIES, INDEX_PAGE, TEMPLATES, money, page_of
from include.quality.page import main as page_main
from include.quality.report import Comparison, Report, UnknownColumn
from include.settings import PROJECT_ROOT, Settings
from tests.support import reports
from tests.support.browser import running_browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
"""What Airflow serves the page under."""

HOSTILE = (
    "</title></style></script><script>window.ran = 1</script>"
    "<img src='http://outside.example/x' onerror='window.ran = 1'><svg onload=window.ran=1></table></section></details>"
    '"\' onmouseover="window.ran = 1" x=\'{{ 7 * 7 }}{% raw %}&amp;\u202eright to left\u2066\u200f\ufeff\0\x1b[31m😀'
)
LONG = "W" * 65_536


def full_report(text: Callable[[], str] = lambda: "words", long: Callable[[], str] = lambda: "words") -> Report:
    """Return a report with something in every section, and texts wherever a sender or a run id can put them."""
    name = f"assert_{text()}"
    findings = (
        reports.failing_test(
            name,
            failing_rows=({text(): text(), "customer_name": long(), "balance": None},) * 5,
            description=text(),
            sql=f"select '{text()}' -- {long()}",
            column=text(),
            kept_in=text(),
            failures=7,
        ),
        reports.data_test("not_to_be_run", status="error", message=f"{text()} {long()}", failures=None, seconds=None),
    )
    return reports.report(
        reports.run(f"manual__{text()}{long()}", error=f"dbt failed: {text()}", git_revision=text()),
        verdict="fail",
        why=f"{text()} failed",
        problems=(text(), long()),
        tests=(*findings, *reports.good_tests(78)),
        models=(reports.built_node(f"model_{text()}", status="error", message=long()), *reports.models()),
        reconciliation=(reports.reconciliation("customers", 90, 1, 3), reports.reconciliation("accounts", 270, 2, 5)),
        quarantine=(
            reports.reason(
                f"malformed record: {text()}", samples=({text(): long(), "customer_id": text()},) * 5, records=11
            ),
            reports.reason("name is missing", file="customers", records_before=None, samples=()),
        ),
        unknown_columns=(UnknownColumn(file="customers", column=f"{text()}{long()}", since=reports.DAY),),
        stale_keys=(reports.stale("customer", "19"), reports.stale("account", text(), long(), count=31)),
        orphan_accounts=reports.orphans(text(), long(), count=44),
        balances=reports.balances(mismatches=(f"received is not {text()}",)),
        against_previous=Comparison(run_id=text(), new=(name,), fixed=(f"fixed_{text()}",), still_failing=()),
    )


REPORTS = {
    "good": reports.report,
    "full": full_report,
    "hostile": lambda: full_report(lambda: HOSTILE, lambda: LONG),
    "refused": reports.refused,
    "unreadable": lambda: reports.report(**dict.fromkeys(reports.SECTIONS_OF_TABLES)),
    "without a date": lambda: reports.report(
        reports.run(outcome="refused", error="killed", logical_date=None, delivered_at=None),
        **dict.fromkeys(reports.SECTIONS_OF_TABLES),
    ),
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of each kind of report, and the index of two of them."""
    folder = tmp_path_factory.mktemp("pages")
    written = {name: reports.write(folder / name.replace(" ", "_"), make()) for name, make in REPORTS.items()}
    return {**written, "index": written["hostile"].with_name(INDEX_PAGE)}


@pytest.fixture(params=[*REPORTS, "index"])
def page(request: pytest.FixtureRequest, pages: dict[str, Path]) -> Path:
    return pages[request.param]


def tree(page: Path) -> ElementTree.Element:
    """Parse a page as XML, which forgives nothing that is not closed, quoted or escaped."""
    return ElementTree.fromstring(page.read_text(encoding="utf-8"))  # noqa: S314 - our own page


def text_of(page: Path) -> str:
    """Return what a page says, white space made even."""
    body = tree(page).find("body")
    assert body is not None
    return re.sub(r"\s+", " ", "".join(body.itertext()))


def test_pages_are_well_formed_and_every_reference_in_them_leads_somewhere(page: Path) -> None:
    elements = list(tree(page).iter())
    ids = Counter(element.get("id") for element in elements if element.get("id"))
    referred = {element.get("aria-labelledby") for element in elements} - {None}
    links = [element.get("href", "") for element in elements if element.tag in ("a", "use")]

    assert [name for name, count in ids.items() if count > 1] == []
    assert referred <= ids.keys()
    assert {link[1:] for link in links if link.startswith("#")} <= ids.keys()
    assert [link for link in links if not link.startswith("#") and not (page.parent / unescape(link)).exists()] == []


def test_headings_stand_in_order_and_tables_say_what_they_are(page: Path) -> None:
    elements = list(tree(page).iter())
    levels = [int(element.tag[1]) for element in elements if re.fullmatch("h[1-6]", element.tag)]
    tables = [element for element in elements if element.tag == "table"]

    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(table[0].tag == "caption" and "".join(table[0].itertext()).strip() for table in tables)
    assert all(element.get("scope") in ("row", "col") for element in elements if element.tag == "th")
    assert all(
        element.get("aria-hidden") == "true" for element in elements if element.tag == "svg"
    )  # what they show stands beside them in words


def test_pages_hold_no_script_and_nothing_from_outside(page: Path) -> None:
    elements = list(tree(page).iter())
    attributes = [(name, value) for element in elements for name, value in element.attrib.items()]
    styles = "".join(element.text or "" for element in elements if element.tag == "style")

    assert {element.tag for element in elements}.isdisjoint(
        {"script", "iframe", "object", "embed", "img", "form", "base", "foreignObject"}
    )
    assert [name for name, _ in attributes if name.startswith("on") or name in ("src", "srcset", "action")] == []
    assert [value for name, value in attributes if name == "href" and re.match(r"(?!data:image/)\w+:|//", value)] == []
    assert re.findall(r"url\(|@import", styles) == []


@pytest.mark.parametrize(
    "tests",
    [
        (*(reports.failing_test(f"assert_{place}") for place in range(10)), *reports.good_tests(70)),
        tuple(reports.failing_test(f"assert_{place}", sql="select 1 as one\n" * 400) for place in range(80)),
    ],
    ids=["ten of them warn", "all warn, with long SQL"],
)
def test_the_page_of_80_tests_has_less_than_150_kilobytes(tmp_path: Path, tests: tuple[Any, ...]) -> None:
    earlier = [
        reports.trend_entry(f"quality_report_{day}.json", generated_at=reports.DAY - timedelta(days=day))
        for day in range(29, 0, -1)
    ]
    reasons = tuple(reports.reason(f"reason {place}") for place in range(12))

    page = reports.write(tmp_path, reports.report(tests=tests, earlier=earlier, quarantine=reasons))

    assert page.stat().st_size < 150_000


def test_every_value_of_a_report_is_on_its_page(tmp_path: Path) -> None:
    numbers = count()
    written = full_report(lambda: f"words {next(numbers)} end", lambda: f"more {next(numbers)} end")
    said = text_of(reports.write(tmp_path, written)).replace("\N{MINUS SIGN}", "-").casefold()
    found = dict(written) | {"trend": (), "tests": [test for test in written.tests if test.status != "pass"]}
    shown_otherwise = {  # as words, symbols, or in another unit
        "bytes", "seconds", "outcome", "database_type", "balanced", "kind", "schema_version", "failure_share",
        "full_refresh", "records_before", "verdict",
    }  # fmt: skip

    missing = [
        f"{path}: {text}"
        for path, text in leaves(found)
        if path.split(".")[-1] not in shown_otherwise and " ".join(text.split()).casefold() not in said
    ]

    assert missing == []


def leaves(value: Any, path: str = "report") -> Iterator[tuple[str, str]]:
    """Yield each value of a report with its path, as the page writes it; what is not known, and zero, is left out."""
    if isinstance(value, BaseModel | dict):
        for name, part in (value if isinstance(value, dict) else value.__dict__).items():
            yield from leaves(part, f"{path}.{name}")
    elif isinstance(value, list | tuple):
        for part in value:
            yield from leaves(part, path)
    elif isinstance(value, Decimal):
        yield path, money(value).replace("\N{MINUS SIGN}", "-")
    elif isinstance(value, datetime):
        yield path, f"{value.day} {value:%b %Y, %H:%M}"
    elif isinstance(value, str):
        yield path, value
    elif value:
        yield path, f"{value:,}"


def test_a_refused_run_says_why_and_nothing_of_the_tables(pages: dict[str, Path]) -> None:
    said = text_of(pages["refused"])

    assert "Refused: accounts.csv has a header and no records: expected at least one." in said
    assert "Nothing was taken from this delivery. Tables, history and exports are as they were before it." in said
    assert "No test has run." in said
    assert "account_summary" not in said


def test_colours_of_text_have_the_contrast_that_WCAG_asks_for() -> None:  # noqa: N802
    light, dark = (
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root \{(.*?)\}", (TEMPLATES / "style.css").read_text(), flags=re.DOTALL)[:2]
    )
    pairs = [(ink, ground) for ink in ("ink", "soft", "accent") for ground in ("page", "card")]
    pairs += [("soft", "wash"), ("ink", "warn-wash"), ("ink", "fail-wash")]
    pairs += [(status, ground) for status in ("pass", "warn", "fail") for ground in ("card", f"{status}-wash")]

    low = [pair for theme in (light, dark) for pair in pairs if contrast(*(theme[name] for name in pair)) < 4.5]

    assert low == []


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours, as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


# In a real browser.


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


class Visit:
    """A page in the browser, served as Airflow serves it, and what the browser had to say."""

    def __init__(self, browser: Browser, path: Path, width: int = 1280, **options: Any) -> None:
        self.messages: list[str] = []
        self.requested: list[str] = []
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        self.page: Page = context.new_page()
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("dialog", lambda dialog: self.messages.append(dialog.message))
        self.page.on("request", lambda request: self.requested.append(request.url))
        headers = {"content-type": "text/html; charset=utf-8", "content-security-policy": POLICY}
        context.route("**/*", lambda route: route.fulfill(body=path.read_bytes(), headers=headers))
        self.page.goto("http://airflow.example/data-quality/report.html")

    def unfold_everything(self) -> None:
        self.page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true })")

    def overflow(self) -> list[str]:
        """Return what reaches beyond the window's right edge and does not scroll by itself."""
        found: list[str] = self.page.evaluate(
            """[...document.body.querySelectorAll('*')].filter(element => {
                const box = element.getBoundingClientRect();
                const seen = box.width > 0 && !element.closest('.scroll, svg, .sr, thead');
                return seen && (box.right > innerWidth + 1 || box.left < -1) && !element.classList.contains('skip');
            }).map(element => element.outerHTML.slice(0, 200))"""
        )
        return found


@pytest.mark.parametrize("width", [360, 768, 1280])
@pytest.mark.parametrize("name", ["good", "hostile", "refused", "index"])
def test_nothing_breaks_the_layout(browser: Browser, pages: dict[str, Path], name: str, width: int) -> None:
    visit = Visit(browser, pages[name], width)
    visit.unfold_everything()

    assert visit.overflow() == []
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("name", ["hostile", "index"])
def test_nothing_of_a_hostile_report_executes_loads_or_becomes_part_of_the_page(
    browser: Browser, pages: dict[str, Path], name: str
) -> None:
    visit = Visit(browser, pages[name])
    visit.unfold_everything()
    for element in visit.page.locator("summary").all():
        element.hover()

    assert visit.page.evaluate("window.ran") is None
    assert visit.messages == []
    assert len(visit.requested) == 1
    assert visit.page.locator("script, img, iframe, form, base").count() == 0
    assert re.findall("[\u202a-\u202e\u2066-\u2069\u200e\u200f\ufeff\x00\x1b]", visit.page.content()) == []
    assert "window.ran = 1</script>" in visit.page.inner_text("body")


def test_a_hostile_report_has_the_elements_of_a_harmless_one(browser: Browser, pages: dict[str, Path]) -> None:
    def outline(name: str) -> list[str]:
        visit = Visit(browser, pages[name])
        elements: list[str] = visit.page.evaluate("[...document.querySelectorAll('*')].map(element => element.tagName)")
        return elements

    assert outline("hostile") == outline("full")


def test_a_finding_unfolds_by_the_keyboard_to_its_meaning_rows_and_sql(
    browser: Browser, pages: dict[str, Path]
) -> None:
    page = Visit(browser, pages["full"]).page
    finding = page.locator("#findings details", has_text="assert_words").first
    for _ in range(60):
        page.keyboard.press("Tab")
        if finding.locator("summary").evaluate("element => element === document.activeElement"):
            break
    hidden = finding.locator("pre").is_visible()
    page.keyboard.press("Enter")

    assert not hidden
    assert finding.locator("pre").inner_text().startswith("select 'words'")
    assert finding.get_by_role("table").get_by_role("columnheader").all_inner_texts() == [
        "words",
        "customer_name",
        "balance",
    ]
    assert finding.get_by_text("int_account_with_customer").is_visible()


def test_a_screen_reader_is_told_sections_tables_and_verdict(browser: Browser, pages: dict[str, Path]) -> None:
    page = Visit(browser, pages["full"]).page

    assert page.get_by_role("region", name="What came in and what became of it").count() == 1
    assert page.get_by_role("heading", level=1).inner_text() == "Delivery of 6\xa0January 2026"
    assert page.get_by_role("table", name="Why it changed").get_by_role("row").count() == 6
    assert page.get_by_role("group", name="accounts").get_by_role("listitem").count() == 7
    assert page.title() == "Failed: quality of the delivery of 2026-01-06"


def test_the_page_is_dark_for_who_prefers_that_and_printed_with_all_unfolded(
    browser: Browser, pages: dict[str, Path]
) -> None:
    page = Visit(browser, pages["full"], color_scheme="dark").page
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(media="print", color_scheme="light")

    assert ground == "rgb(19, 22, 25)"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("#findings pre").first.is_visible()


# The index, and what writes pages.


def day_of_report(day: int, **fields: Any) -> Report:
    time = reports.DAY + timedelta(days=day)
    run = reports.run(f"scheduled__day_{day}", logical_date=time, delivered_at=time, generated_at=time)
    return reports.report(run, **fields)


def listed(folder: Path) -> list[str]:
    """Return the run ids that the index lists, in its order."""
    return re.findall(r"scheduled__day_\d+", text_of(folder / INDEX_PAGE))


def test_the_index_lists_the_runs_newest_first_with_links_to_their_pages(tmp_path: Path) -> None:
    pages = [reports.write(tmp_path, day_of_report(day)) for day in (1, 3, 2)]
    links = [element.get("href") for element in tree(tmp_path / INDEX_PAGE).iter("a")]

    assert listed(tmp_path) == ["scheduled__day_3", "scheduled__day_2", "scheduled__day_1"]
    assert links == [pages[place].name for place in (1, 2, 0)]


def test_the_index_has_a_refused_delivery_by_its_day_and_a_long_path_in_its_card(
    browser: Browser, tmp_path: Path
) -> None:
    reports.write(
        tmp_path, reports.refused(f"/srv/{'extracts_of_the_core_banking_system/' * 4}accounts.csv is missing")
    )

    visit = Visit(browser, tmp_path / INDEX_PAGE, 1236)

    assert visit.page.inner_text("table.runs tbody th a") == "6 Jan 2026, 02:00 UTC"
    edges = "[...document.querySelectorAll('section, table.runs')].map(each => each.getBoundingClientRect().right)"
    card, table = visit.page.evaluate(edges)
    assert table < card


def test_a_report_that_was_deleted_leaves_the_index_with_the_next_run(tmp_path: Path) -> None:
    first = reports.write(tmp_path, day_of_report(1))
    reports.write(tmp_path, day_of_report(2))
    first.unlink()
    first.with_suffix(".json").unlink()

    reports.write(tmp_path, day_of_report(3))

    assert listed(tmp_path) == ["scheduled__day_3", "scheduled__day_2"]


def test_a_run_that_was_killed_before_the_index_was_written_is_listed_by_the_next_one(tmp_path: Path) -> None:
    killed = reports.write(tmp_path, day_of_report(1))
    for left_behind in (killed, tmp_path / INDEX_PAGE, tmp_path / INDEX_ENTRIES):
        left_behind.unlink()
    entry = day_of_report(1).trend[-1]

    reports.write(tmp_path, day_of_report(2, earlier=[entry]))

    assert listed(tmp_path) == ["scheduled__day_2", "scheduled__day_1"]
    assert [element.get("href") for element in tree(tmp_path / INDEX_PAGE).iter("a")][1] == killed.with_suffix(
        ".json"
    ).name


def test_runs_older_than_the_trend_stay_in_the_index_and_a_damaged_line_costs_itself_alone(tmp_path: Path) -> None:
    for day in (1, 2):
        reports.write(tmp_path, day_of_report(day))
    with (tmp_path / INDEX_ENTRIES).open("ab") as file:
        file.write(b'{"run_id": "half a li')

    reports.write(tmp_path, day_of_report(3))

    assert listed(tmp_path) == ["scheduled__day_3", "scheduled__day_2", "scheduled__day_1"]


def test_a_run_writes_its_page_beside_its_report(settings: Settings) -> None:
    path = write_report(settings, run_id="scheduled__day_1")

    assert "the run ended before it had ingested anything" in text_of(page_of(path))
    assert listed(path.parent) == ["scheduled__day_1"]


def test_a_page_that_cannot_be_written_costs_nothing_but_itself(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(IngestionError, match=r"customers\.csv"):
        ingest_delivery(settings, logical_date=reports.DAY, run_id="run")
    page = page_of(write_report(settings, run_id="run"))
    page.unlink()
    page.mkdir()

    with caplog.at_level(logging.ERROR):
        path = write_report(settings, run_id="run")

    assert page_of(path) == page
    assert Report.load(path).run.run_id == "run"
    assert "can't be written" in caplog.text


def test_an_index_that_cannot_be_written_costs_neither_report_nor_page(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    (settings.data_quality_report_path / INDEX_PAGE).mkdir(parents=True)

    with caplog.at_level(logging.ERROR):
        path = write_report(settings, run_id="run")

    assert Report.load(path).run.run_id == "run"
    assert page_of(path).is_file()
    assert "can't be written" in caplog.text


def test_the_page_of_the_newest_report_is_written_and_its_path_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATA_QUALITY_REPORT_PATH", str(tmp_path))
    page = reports.write(tmp_path, day_of_report(1))
    page.unlink()

    assert page_main([]) == 0
    assert capsys.readouterr().out == f"{page}\n"
    assert page.is_file()


def test_without_a_report_it_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATA_QUALITY_REPORT_PATH", str(tmp_path))

    assert page_main([]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path} has no report yet: `make run` makes one\n"


def test_make_report_prints_the_path_where_there_is_no_desktop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = reports.write(tmp_path, day_of_report(1))
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATA_QUALITY_REPORT_PATH", str(tmp_path))

    done = subprocess.run([PROJECT_ROOT / "scripts" / "report.sh"], capture_output=True, text=True, cwd=PROJECT_ROOT)

    assert (done.returncode, done.stdout) == (0, f"{page}\n")
