"""Shows the quality reports in Airflow's UI (toolbar, tab of each run), and guards them and dbt's docs.

Nothing here may fail: without this plugin, Cosmos would show dbt's docs to everybody who reaches the API server.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from include.ui import PAGES
from include.ui.guard import Guard
from include.ui.pages import create_app


def icon(colour: str, paper: str) -> str:
    """Return the icon, a check mark on a list, as a data URL. It is visible on light and on coloured backgrounds."""
    drawing = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="{paper}" stroke-width="2" '
        f'stroke="{colour}" stroke-linecap="round" stroke-linejoin="round">'
        '<path d="M9 4H6v17h12V4h-3M9 3h6v3H9zM9 14l2 2 4-5"/></svg>'
    )
    return f"data:image/svg+xml;base64,{b64encode(drawing.encode()).decode()}"


def view(name: str, destination: str, url_route: str, path: str, **more: Any) -> dict[str, Any]:
    """Return a place in the UI that shows a page in a frame. The path is relative, since the UI may not be at /."""
    return {
        "name": name,
        "destination": destination,
        "url_route": url_route,
        "href": f"{PAGES.removeprefix('/')}/{path}",
        "icon": icon("#3d5a80", paper="#fff"),
        "icon_dark_mode": icon("#d4d4d8", paper="none"),
        **more,
    }


class QualityPlugin(AirflowPlugin):  # type: ignore[misc]
    """Registers the pages, their guard and their links with Airflow."""

    name = "quality"
    fastapi_apps = [{"name": "quality", "app": create_app(), "url_prefix": PAGES}]  # noqa: RUF012
    fastapi_root_middlewares = [{"name": "guard", "middleware": Guard}]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        view("Quality", "nav", "quality", "", nav_top_level=True),
        view("Quality report", "dag_run", "quality-report", "dags/{DAG_ID}/runs/{RUN_ID}"),
    ]
