"""Guards the pages that plugins serve, because Airflow mounts a plugin's app without authentication.

It covers the pages of this project and those of Cosmos, whose dbt docs show every model's SQL. Plugins load in each
Airflow process, so Airflow's modules are imported only when a page is requested.
"""

from __future__ import annotations

from fastapi import HTTPException, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette._utils import get_route_path  # the path by which Starlette matches routes and mounts
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from include.ui import DAG_ID, PAGES

_COSMOS = "/cosmos"

_HEADERS = {"cache-control": "no-store", "referrer-policy": "same-origin", "x-content-type-options": "nosniff"}

_POLICIES = {
    # The frame that shows a report in Airflow's UI would run scripts with the session of the user.
    PAGES: "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'",
    _COSMOS: "frame-ancestors 'self'",
}


class Guard:
    """ASGI middleware. Without a session: 401, or in a browser the login page. Without permission: 403."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        prefix = _guarded_prefix(scope)
        if prefix is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
        else:
            answer = await _refusal(Request(scope, receive)) or self.app
            await answer(scope, receive, _with_headers(send, prefix))


def _guarded_prefix(scope: Scope) -> str | None:
    if scope["type"] not in ("http", "websocket"):
        return None
    path = get_route_path(scope)
    return next((prefix for prefix in _POLICIES if path == prefix or path.startswith(f"{prefix}/")), None)


async def _refusal(request: Request) -> Response | None:
    """Return the response for a user who may not read the DAG, or None for a user who may."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.core_api.security import bearer_scheme, get_user

    try:
        user = await get_user(request, None, await bearer_scheme(request))
    except HTTPException as error:
        if request.headers.get("sec-fetch-dest") == "document":
            asked_for = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(get_auth_manager().get_url_login(next_url=asked_for), status_code=302)
        return JSONResponse({"detail": error.detail}, status_code=error.status_code)
    if await run_in_threadpool(_may_read, user):
        return None
    return JSONResponse({"detail": f"You need the right to read the DAG {DAG_ID}."}, status_code=403)


def _may_read(user: object) -> bool:
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails
    from airflow.models.dag import DagModel

    details = DagDetails(id=DAG_ID, team_name=DagModel.get_team_name(DAG_ID))
    return bool(get_auth_manager().is_authorized_dag(method="GET", details=details, user=user))


def _with_headers(send: Send, prefix: str) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(_HEADERS | {"content-security-policy": _POLICIES[prefix]})
        await send(message)

    return send_with_headers
