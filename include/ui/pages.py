"""The pages of the quality reports, as the app that Airflow serves under `/data-quality`.

    /data-quality/                             the index of all reports
    /data-quality/<name>.html                  a page from the folder of the reports
    /data-quality/<name>.json                  a report itself
    /data-quality/dags/<DAG>/runs/<run id>     redirects to the page of a run
    /data-quality/explain/<entity>/<key>       the explanation of an account or a customer

include/ui/guard.py checks the user. Settings are read for each page, because a wrong setting must not keep Airflow from
loading the plugin, which has the guard.
"""

from __future__ import annotations

import html
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from include.artifacts import REPORT_NAME, report_of
from include.settings import PROJECT_ROOT, SettingsError, load_settings
from include.ui import DAG_ID, PLAIN_KEY

INDEX = "index.html"
EXPLAIN_SECONDS = 60

_KEY = re.compile(rb'<bdi data-key="(account|customer)">(%b)</bdi>' % PLAIN_KEY.pattern.encode())
"""A key in a page. Here it becomes a link to its explanation."""

_PAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.html")
_REPORT = re.compile(REPORT_NAME + r"[A-Za-z0-9._-]+\.json")


def create_app() -> FastAPI:
    """Return the app. Its only page of its own is the one for a missing report."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)

    @app.get("/")
    def index() -> Response:
        return _page(INDEX) or _nothing(
            "No quality report yet", f"The first run of the DAG {DAG_ID} writes one, whatever becomes of the run."
        )

    @app.get("/dags/{dag_id}/runs/{run_id:path}")
    def report_of_run(request: Request, dag_id: str, run_id: str) -> Response:
        if dag_id != DAG_ID:
            return _nothing("No quality report", f"The DAG {dag_id} has none: the reports are of the runs of {DAG_ID}.")
        page = report_of(load_settings().data_quality_report_path, run_id, ".html")
        if page:
            # A redirect and not the page itself, whose links to other pages are relative to their folder.
            return RedirectResponse(f"{request.scope['root_path']}/{page.name}", status_code=302)
        return _nothing(
            "No quality report yet",
            f"The run {run_id} has none. Its task quality_report writes it, also where another task has failed.",
        )

    @app.get("/explain/{entity}/{key:path}")
    def explanation(entity: str, key: str) -> Response:
        return _explanation(entity, key)

    @app.get("/{name:path}")
    def page(name: str) -> Response:
        return _page(name) or _nothing("No such page", "There is no quality report of that name.")

    @app.exception_handler(SettingsError)
    def wrong_settings(_request: Request, error: SettingsError) -> Response:
        return _nothing("The pipeline's settings are wrong", str(error), status=500)

    return app


def read_page(folder: Path, name: str) -> bytes | None:
    """Return the content of a page or a report, or None if `folder` has no regular file (links don't count) of that
    name."""
    if not (_PAGE.fullmatch(name) or _REPORT.fullmatch(name)):
        return None
    try:
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        with open(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def _explanation(entity: str, key: str) -> Response:
    """Return the page of `python -m include.explain`, which reads tables and runs in a separate process."""
    if "\0" in key:
        return _nothing("No explanation", "A key has no NUL.")
    command = [sys.executable, "-m", "include.explain", "--html", "--", entity, key]
    try:
        ended = subprocess.run(
            command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=EXPLAIN_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return _nothing("No explanation", f"It took over {EXPLAIN_SECONDS} seconds: is the database in use?", 503)
    if ended.returncode == 0:
        return HTMLResponse(ended.stdout)
    said = ended.stderr.strip().rpartition("\n")[2]
    return _nothing("No explanation", said.removeprefix("error: ") or "It could not be made.")


def _page(name: str) -> Response | None:
    content = read_page(load_settings().data_quality_report_path, name)
    if content is not None and _REPORT.fullmatch(name):
        return Response(content, media_type="application/json")
    return None if content is None else HTMLResponse(_KEY.sub(rb'<a href="explain/\1/\2">\2</a>', content))


def _nothing(title: str, text: str, status: int = 404) -> Response:
    return HTMLResponse(
        "<!doctype html>\n"
        f'<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width">\n'
        "<style>:root { color-scheme: light dark } body { font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; "
        "margin: 4rem auto; padding: 0 1rem; overflow-wrap: anywhere }</style></head>\n"
        f"<body><h1>{html.escape(title)}</h1><p>{html.escape(text)}</p></body></html>\n",
        status_code=status,
    )
