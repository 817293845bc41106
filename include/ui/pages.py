"""The pages of the quality reports, as the app that Airflow serves under `/data-quality`.

    /data-quality/                             the index of all reports
    /data-quality/<name>.html                  a page, as the folder of the reports has it
    /data-quality/dags/<DAG>/runs/<run id>     leads to the page of a run

include/ui/guard.py asks who calls. Settings are read for each page: a wrong one must not keep Airflow from loading the
plugin, and the guard with it.
"""

from __future__ import annotations

import html
import os
import re
import stat
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from include.files import run_key
from include.settings import SettingsError, load_settings
from include.ui import DAG_ID

INDEX = "index.html"

_PAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.html")


def create_app() -> FastAPI:
    """Return the app; it has no page of its own but for what is missing."""
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
        name = page_of_run(load_settings().data_quality_report_path, run_id)
        if name:
            # Not the page itself: its links to others are relative to where all of them are.
            return RedirectResponse(f"{request.scope['root_path']}/{name}", status_code=302)
        return _nothing(
            "No quality report yet",
            f"The run {run_id} has none. Its task quality_report writes it, also where another task has failed.",
        )

    @app.get("/{name:path}")
    def page(name: str) -> Response:
        return _page(name) or _nothing("No such page", "There is no quality report of that name.")

    @app.exception_handler(SettingsError)
    def wrong_settings(_request: Request, error: SettingsError) -> Response:
        return _nothing("The pipeline's settings are wrong", str(error), status=500)

    return app


def page_of_run(folder: Path, run_id: str) -> str | None:
    """Return the name of the page of a run's report; of several, as a run that was cleared can have, the newest."""
    name = re.compile(rf"quality_report_[0-9]{{8}}T[0-9]{{12}}Z_{re.escape(run_key(run_id))}\.html")
    try:
        pages = [entry for entry in os.scandir(folder) if name.fullmatch(entry.name)]
    except OSError:
        return None
    newest = max(pages, key=lambda entry: entry.stat(follow_symlinks=False).st_mtime_ns, default=None)
    return newest.name if newest else None


def read_page(folder: Path, name: str) -> bytes | None:
    """Return an HTML file's content; None where `folder` itself has no regular file, as opposed to a link, so named."""
    if not _PAGE.fullmatch(name):
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


def _page(name: str) -> Response | None:
    content = read_page(load_settings().data_quality_report_path, name)
    return None if content is None else HTMLResponse(content)


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
