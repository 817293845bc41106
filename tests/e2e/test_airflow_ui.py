"""The quality reports and dbt's documentation in Airflow's UI: who gets in, and how people find them.

One API server for all tests, with a login, its UI at a path as behind a proxy; and one run, of which only the report
was written. A secret lies beside the reports.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from include.dbt import docs
from include.files import run_key
from include.quality.page import render_report
from tests.support import reports as made_reports
from tests.support.airflow_home import AirflowHome
from tests.support.airflow_process import AirflowProcess
from tests.support.browser import running_browser
from tests.support.deliveries import day
from tests.support.settings import settings_in

RUN_ID = "manual__2026-01-05T02:00:00+00:00"
DOCS = "lc_pipeline"
USERS = {"admin": "admin", "reader": "viewer", "nobody": ""}
"""Users and their roles; the password is the name."""

SECRETS = ("top-secret", "report-of-a-run", "all-reports", "src_customer")
"""What stands in the file beside the reports, in the pages, and in dbt's documentation."""

PREFIXES = ("/lending/data-quality", "/data-quality", "/lending/cosmos", "/cosmos")

PATHS = (
    "",
    "/",
    "//",
    "/.",
    "/index.html",
    "/index.html/",
    "/index.html?x=1",
    "//index.html",
    "/./index.html",
    "/x/../index.html",
    "/x/%2e%2e/index.html",
    "/index.html%00",
    "/index.html%0a",
    "/index.html%20",
    "/index%2ehtml",
    "/%69ndex.html",
    "/%2findex.html",
    "/../secret.html",
    "/%2e%2e/secret.html",
    "/..%2fsecret.html",
    "/%2e%2e%2fsecret.html",
    "/%252e%252e%252fsecret.html",
    "/%25252e%25252e%25252fsecret.html",
    "/..%5csecret.html",
    "/..\\secret.html",
    "/%c0%ae%c0%ae%c0%afsecret.html",
    "/..;/secret.html",
    "/link.html",
    "/report.json",
    "/%00",
    "/%ff",
    "/explain/account/A1",
    "/docs",
    "/redoc",
    "/openapi.json",
    f"/dags/lc_pipeline/runs/{RUN_ID}",
    f"/dags/lc_pipeline/runs/{quote(RUN_ID, safe='')}/",
    "/dags/lc_pipeline/runs/..%2f..%2f..%2fsecret",
    f"/{DOCS}/manifest.json",
    f"/{DOCS}%2fmanifest.json",
    f"/{DOCS}/catalog.json",
    f"/{DOCS}/dbt_docs",
    f"/{DOCS}/dbt_docs_index.html",
)

FAILING, MEANING, SQL = "assert_interest", "The interest is wrong: do a full refresh.", "select 1 as wrong"
ROW = {"account_id": "A-4711", "annual_interest_amount": "0.01"}
"""A failing test in the report of a red run: its name, what it means, its SQL and a failing row."""

GUARDED = (
    *(prefix + path for prefix in PREFIXES for path in PATHS),
    "/%64ata-quality/index.html",
    "/data%2dquality/index.html",
    "/data-quality%2findex.html",
    "/lending%2fdata-quality%2findex.html",
    f"/%63osmos/{DOCS}/manifest.json",
    f"/cosmos%2f{DOCS}%2fmanifest.json",
)

LOOK_ALIKES = (
    "/data-qualityx/index.html",
    "/data-quality.html",
    "/data-quality;/index.html",
    "/data-quality%00/index.html",
    "/data-quality%20/index.html",
    "/data-quality%5cindex.html",
    "/data-quality\\index.html",
    "/DATA-QUALITY/index.html",
    "/Data-Quality/",
    "//data-quality/index.html",
    "/%2fdata-quality/index.html",
    "/%2564ata-quality/index.html",
    "/./data-quality/index.html",
    "/x/../data-quality/index.html",
    "/x/%2e%2e/data-quality/index.html",
    "/lending//data-quality/index.html",
    "/lending/lending/data-quality/index.html",
    "/lendingx/data-quality/index.html",
    f"/cosmosx/{DOCS}/manifest.json",
    f"/COSMOS/{DOCS}/manifest.json",
    f"//cosmos/{DOCS}/manifest.json",
    f"/%2563osmos/{DOCS}/manifest.json",
    f"/x/../cosmos/{DOCS}/manifest.json",
    f"/ui/cosmos/{DOCS}/manifest.json",
    f"/pluginsv2/cosmos/{DOCS}/manifest.json",
)

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Answer:
    """What a server answers."""

    status: int
    headers: dict[str, str]
    body: str = field(repr=False)


@dataclass(frozen=True)
class Ui:
    """The API server at `address`, its folder of reports, and a token of each user."""

    address: str
    reports: Path
    tokens: dict[str, str]

    def ask(self, path: str, *, user: str | None = None, method: str = "GET", **headers: str) -> Answer:
        """Send a request whose path is left as it is; names of headers are written with `_` for `-`."""
        if user:
            headers["authorization"] = f"Bearer {self.tokens[user]}"
        connection = HTTPConnection(urlsplit(self.address).netloc, timeout=60)
        connection.putrequest(method, path)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        response = connection.getresponse()
        answer = Answer(
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            response.read().decode(errors="replace"),
        )
        connection.close()
        return answer


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    folder = tmp_path_factory.mktemp("ui")
    settings = settings_in(folder)
    airflow = AirflowHome(folder / "airflow", settings)
    (folder / "passwords.json").write_text(json.dumps({user: user for user in USERS}))
    (folder / "dbt_docs").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(docs, "docs_dir", lambda: folder / "dbt_docs")
        docs.write_docs(settings, catalog=False)
    project = {"dir": str(folder / "dbt_docs"), "index": docs.INDEX, "name": "dbt docs"}
    airflow.environment |= {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:{role}" for user, role in USERS.items()),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder / "passwords.json"),
        "AIRFLOW__COSMOS__DBT_DOCS_PROJECTS": json.dumps({DOCS: project}),
    }
    airflow_process = AirflowProcess(airflow.environment | {"AIRFLOW__API__BASE_URL": "/lending"})
    airflow_process.begin(settings.landing_path)
    airflow_process.add_run(RUN_ID, day(5))
    airflow_process.run_task(RUN_ID, "quality_report")
    airflow_process.end_run(RUN_ID)
    airflow_process.close()

    reports = settings.data_quality_report_path
    (report,) = reports.glob("quality_report_*.json")
    report.with_suffix(".html").write_text("<!doctype html><title>Report</title><h1>report-of-a-run</h1>")
    (reports / "index.html").write_text(
        f"<!doctype html><title>Reports</title><h1>all-reports</h1><a href='{report.stem}.html'>of the run</a>"
        "<a href='quality_report_red.html'>of a red run</a>"
        "<script>document.title = 'executed'</script>"
    )
    finding = made_reports.failing_test(FAILING, description=MEANING, sql=SQL, failing_rows=(ROW,))
    red = made_reports.report(verdict="fail", tests=(finding,))
    (reports / "quality_report_red.html").write_text(render_report(red, reports / "quality_report_red.json"))
    (reports / "report.json").write_text("top-secret")
    (folder / "secret.html").write_text("top-secret")
    (reports / "link.html").symlink_to(folder / "secret.html")
    with airflow.ui("/lending") as address:
        yield Ui(address, reports, {user: log_in(address, user) for user in USERS})


def log_in(address: str, user: str) -> str:
    connection = HTTPConnection(urlsplit(address).netloc, timeout=60)
    body = json.dumps({"username": user, "password": user})
    path = f"{urlsplit(address).path}/auth/token"
    connection.request("POST", path, body, {"content-type": "application/json"})
    token: str = json.loads(connection.getresponse().read())["access_token"]
    connection.close()
    return token


def revealed(answer: Answer) -> list[str]:
    return [secret for secret in SECRETS if secret in answer.body]


def test_without_a_session_every_path_is_refused(ui: Ui) -> None:
    answers = {path: ui.ask(path) for path in GUARDED}

    assert {path: answer.status for path, answer in answers.items() if answer.status != 401} == {}
    assert {path for path, answer in answers.items() if revealed(answer)} == set()


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
def test_without_a_session_every_method_is_refused(ui: Ui, method: str) -> None:
    for path in ("/lending/data-quality/", f"/lending/cosmos/{DOCS}/manifest.json"):
        assert ui.ask(path, method=method).status == 401


@pytest.mark.parametrize("token", ["", "x", "e30.e30.e30"])
def test_something_that_is_no_token_is_no_session(ui: Ui, token: str) -> None:
    by_header = ui.ask("/lending/data-quality/", authorization=f"Bearer {token}")
    by_cookie = ui.ask("/lending/data-quality/", cookie=f"_token={token}")

    assert {by_header.status, by_cookie.status} <= {401, 403}
    assert revealed(by_header) == revealed(by_cookie) == []


def test_somebody_who_navigates_without_a_session_is_led_to_the_login_page(ui: Ui) -> None:
    for path in GUARDED:
        answer = ui.ask(path, sec_fetch_dest="document")
        assert answer.status == 302, path
        assert answer.headers["location"].startswith("/lending/auth/login?next="), path


def test_a_user_without_rights_on_the_dag_is_forbidden_every_path(ui: Ui) -> None:
    for headers in ({}, {"sec_fetch_dest": "document"}):
        answers = {path: ui.ask(path, user="nobody", **headers) for path in GUARDED}

        assert {path: answer.status for path, answer in answers.items() if answer.status != 403} == {}
        assert {path for path, answer in answers.items() if revealed(answer)} == set()


def test_a_websocket_is_refused_to_everybody(ui: Ui) -> None:
    upgrade = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ==",
        "sec_websocket_version": "13",
    }
    for user in (None, "admin"):
        assert ui.ask("/lending/data-quality/", user=user, **upgrade).status == 403


def test_what_only_looks_like_a_page_shows_nothing_to_anybody(ui: Ui) -> None:
    for user in (None, "nobody", "admin"):
        assert {path for path in LOOK_ALIKES if revealed(ui.ask(path, user=user))} == set()


def test_no_path_leads_out_of_the_folder_of_the_reports(ui: Ui) -> None:
    answers = {path: ui.ask(f"/lending/data-quality{path}", user="admin") for path in PATHS if path}

    assert {path for path, answer in answers.items() if "top-secret" in answer.body} == set()
    pages = {path for path, answer in answers.items() if answer.status == 200}
    assert pages == {"/", "/index.html", "/index.html?x=1", "/index%2ehtml", "/%69ndex.html"}


def test_who_may_read_the_dag_sees_the_pages_under_a_strict_policy(ui: Ui) -> None:
    for user in ("reader", "admin"):
        answer = ui.ask("/lending/data-quality/", user=user)

        assert (answer.status, "all-reports" in answer.body) == (200, True)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src 'unsafe-inline'")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"


def test_a_run_leads_to_its_page(ui: Ui) -> None:
    answer = ui.ask(f"/lending/data-quality/dags/lc_pipeline/runs/{quote(RUN_ID, safe='')}", user="reader")
    [page] = ui.reports.glob(f"quality_report_2*_{run_key(RUN_ID)}.html")

    assert answer.status == 302
    assert answer.headers["location"] == f"/lending/data-quality/{page.name}"
    assert "report-of-a-run" in ui.ask(answer.headers["location"], user="reader").body


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("dags/lc_pipeline/runs/other", "The run other has none. Its task quality_report writes it"),
        ("dags/lc_pipeline/runs/%3Cscript%3E", "The run &lt;script&gt; has none."),
        (f"dags/another/runs/{RUN_ID}", "The DAG another has none: the reports are of the runs of lc_pipeline."),
        ("quality_report_of_yesterday.html", "There is no quality report of that name."),
    ],
)
def test_what_is_missing_has_a_kind_answer(ui: Ui, path: str, says: str) -> None:
    answer = ui.ask(f"/lending/data-quality/{path}", user="reader")

    assert answer.status == 404
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert says in answer.body


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page of a browser in which nobody has logged in; SCREENSHOTS names a folder for what it showed last."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(60_000)
    page = context.new_page()
    expect.set_options(timeout=60_000)
    yield page
    if folder := os.environ.get("SCREENSHOTS"):
        context.pages[-1].screenshot(path=Path(folder, f"{request.node.name}.png"))
    context.close()


def enter(page: Page, user: str) -> None:
    page.get_by_label("Username").fill(user)
    page.get_by_label("Password").fill(user)
    page.get_by_role("button", name="Sign in").click()


def test_a_person_logs_in_and_opens_quality_from_the_toolbar(ui: Ui, page: Page) -> None:
    page.goto(ui.address)
    enter(page, "reader")
    page.get_by_role("link", name="Quality", exact=True).click()
    frame = page.frame_locator("iframe[title=Quality]")

    expect(frame.get_by_role("heading", name="all-reports")).to_be_visible()
    frame.get_by_role("link", name="of the run").click()
    expect(frame.get_by_role("heading", name="report-of-a-run")).to_be_visible()


def test_a_person_unfolds_a_failing_test_to_what_it_means_its_rows_and_its_sql(ui: Ui, page: Page) -> None:
    page.goto(ui.address)
    enter(page, "reader")
    page.get_by_role("link", name="Quality", exact=True).click()
    frame = page.frame_locator("iframe[title=Quality]")
    frame.get_by_role("link", name="of a red run").click()
    row, sql = frame.get_by_role("cell", name=ROW["account_id"]), frame.get_by_text(SQL)
    expect(frame.get_by_text(FAILING).first).to_be_visible()
    expect(row).not_to_be_visible()

    frame.locator("summary", has_text=FAILING).click()

    expect(row).to_be_visible()
    expect(sql).to_be_visible()
    expect(frame.get_by_text(MEANING)).to_be_visible()


def test_the_frame_executes_no_script(ui: Ui, page: Page) -> None:
    page.goto(f"{ui.address}/data-quality/")
    enter(page, "reader")

    expect(page.get_by_role("heading", name="all-reports")).to_be_visible()
    assert page.title() == "Reports"


def test_a_person_opens_the_report_from_the_tab_of_the_run(ui: Ui, page: Page) -> None:
    page.goto(f"{ui.address}/dags/lc_pipeline/runs/{quote(RUN_ID, safe='')}")
    enter(page, "reader")
    page.get_by_role("link", name="Quality report").click()
    frame = page.frame_locator("iframe[title='Quality report']")

    expect(frame.get_by_role("heading", name="report-of-a-run")).to_be_visible()


def test_a_person_follows_the_link_of_the_task_that_wrote_the_report(ui: Ui, page: Page) -> None:
    page.goto(f"{ui.address}/dags/lc_pipeline/runs/{quote(RUN_ID, safe='')}/tasks/quality_report/details")
    enter(page, "reader")
    page.get_by_role("link", name="Quality report").click()

    expect(page.get_by_role("heading", name="report-of-a-run")).to_be_visible()


def test_a_person_finds_the_documentation_of_dbt_under_browse(ui: Ui, page: Page) -> None:
    page.goto(ui.address)
    enter(page, "reader")
    page.get_by_role("button", name="Browse").click()
    href = page.get_by_role("menuitem", name="dbt docs").get_attribute("href")
    page.goto(f"{ui.address}{(href or '').removeprefix('/lending')}")

    expect(page.get_by_text("lc_pipeline", exact=True).locator("visible=true").first).to_be_visible()


def test_without_a_login_a_person_sees_the_login_page_alone(ui: Ui, page: Page) -> None:
    for path in ("/data-quality/", f"/cosmos/{DOCS}/dbt_docs_index.html"):
        page.goto(f"{ui.address}{path}")

        expect(page.get_by_label("Password")).to_be_visible()
        assert [secret for secret in SECRETS if secret in page.content()] == []
