"""The HTTP server: authentication and routing. It listens on loopback only."""

from __future__ import annotations

import base64
import hmac
import json
import logging
import secrets
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

from local_warehouse import files_api, privileges, workspace_api
from local_warehouse.catalog import Catalog
from local_warehouse.contract import ADMIN
from local_warehouse.transport import ThriftService

log = logging.getLogger(__name__)

TOKEN_PATH = "/oidc/v1/token"
TOKEN_SECONDS = 3600


class HttpError(Exception):
    """An error response in the form of Databricks' REST API."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.content = status, {"error_code": code, "message": message}


@dataclass
class Credentials:
    """Checks clients' tokens: a personal access token, or one that was issued for a client id and secret (OAuth)."""

    token: str
    client_id: str | None = None
    client_secret: str | None = None
    issued: set[str] = field(default_factory=set)

    def user(self, header: str) -> str | None:
        """Return the user of an Authorization header, or None if it is not valid."""
        shown = header.removeprefix("Bearer ").encode()
        if hmac.compare_digest(shown, self.token.encode()):
            return ADMIN
        return self.client_id if any(hmac.compare_digest(shown, token.encode()) for token in self.issued) else None

    def issue(self, header: str | None, form: dict[str, str]) -> str | None:
        """Return a token for the client id and secret of a request, or None if they are wrong."""
        shown = (form.get("client_id", ""), form.get("client_secret", ""))
        if header and header.startswith("Basic "):
            client_id, _, secret = base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")
            shown = (unquote(client_id), unquote(secret))
        if not self.client_id or shown != (self.client_id, self.client_secret):
            return None
        token = secrets.token_urlsafe(32)
        self.issued.add(token)
        return token


class WarehouseServer(ThreadingHTTPServer):
    """One SQL warehouse at `http_path`, with the volumes and the parts of the REST API that clients need."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self, service: ThriftService, catalog: Catalog, credentials: Credentials, *, port: int, http_path: str
    ) -> None:
        super().__init__(("127.0.0.1", port), _RequestHandler)
        self.service, self.catalog, self.credentials, self.http_path = service, catalog, credentials, http_path
        self.faults = service.faults
        self.uploads = files_api.Uploads(catalog.folder / "uploads")

    @property
    def url(self) -> str:
        """The server's address for clients."""
        return f"http://127.0.0.1:{self.server_port}"


class _RequestHandler(BaseHTTPRequestHandler):
    server: WarehouseServer
    user: str
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # send each response in one piece, or clients wait for the rest of it

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):  # the client went away
            self.close_connection = True

    def log_message(self, format: str, *arguments: Any) -> None:
        log.debug(format, *arguments)

    def do_GET(self) -> None:
        self._answer_request()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

    def _answer_request(self) -> None:
        parts = urlsplit(self.path)
        self.url_path, self.query = unquote(parts.path), dict(parse_qsl(parts.query))
        self.unread = int(self.headers.get("Content-Length") or 0)
        try:
            if "Transfer-Encoding" in self.headers:
                self.close_connection = True
                raise HttpError(HTTPStatus.LENGTH_REQUIRED, "BAD_REQUEST", "A Content-Length is required.")
            if not self.url_path.startswith("/_faults") and self.server.faults.before(self):
                return
            self._route()
        except HttpError as error:
            # The connector shows this header's text, and not the body.
            self.send_json(error.content, error.status, {"x-databricks-reason-phrase": str(error)})

    def _route(self) -> None:
        path = self.url_path
        if path == "/.well-known/databricks-config":
            self.send_json({"oidc_endpoint": f"{self.server.url}/oidc", "host_type": "workspace"})
        elif path == "/oidc/.well-known/oauth-authorization-server":
            token_endpoint, authorize = f"{self.server.url}{TOKEN_PATH}", f"{self.server.url}/oidc/v1/authorize"
            self.send_json({"token_endpoint": token_endpoint, "authorization_endpoint": authorize})
        elif path == TOKEN_PATH:
            self._issue_token()
        elif files_api.is_presigned(self):
            self.user = ADMIN
            files_api.answer(self)
        elif "Authorization" not in self.headers:
            raise HttpError(HTTPStatus.UNAUTHORIZED, "UNAUTHENTICATED", "Credential was not sent.")
        else:
            user = self.server.credentials.user(self.headers["Authorization"])
            if user is None:
                raise HttpError(HTTPStatus.FORBIDDEN, "PERMISSION_DENIED", "Invalid access token.")
            self.user = user
            self._route_for_user()

    def _route_for_user(self) -> None:
        path = self.url_path
        if path == "/_faults" and self.command == "PUT":
            self.send_json(self.server.faults.set(json.loads(self.body() or b"{}")))
        elif path.startswith("/api/2.0/fs/"):
            files_api.answer(self)
        elif path.startswith("/api/"):
            workspace_api.answer(self)
        elif path.startswith("/sql/"):
            self._answer_thrift()
        elif path.startswith("/telemetry"):
            self.send_json({})
        else:
            raise HttpError(HTTPStatus.NOT_FOUND, "ENDPOINT_NOT_FOUND", f"No API found for '{self.command} {path}'")

    def _answer_thrift(self) -> None:
        if self.url_path.strip("/") != self.server.http_path.strip("/"):
            warehouse = self.url_path.rsplit("/", 1)[-1]
            raise HttpError(
                HTTPStatus.NOT_FOUND, "RESOURCE_DOES_NOT_EXIST", f"SQL warehouse {warehouse} does not exist."
            )
        method, answer = self.server.service.answer(self.body(), self.user)
        self.send(HTTPStatus.OK, answer, "application/x-thrift", method=method)

    def _issue_token(self) -> None:
        form = {key: values[0] for key, values in parse_qs(self.body().decode()).items()}
        token = self.server.credentials.issue(self.headers.get("Authorization"), form)
        if token is None:
            error = {"error": "invalid_client", "error_description": "Client authentication failed"}
            self.send_json(error, HTTPStatus.UNAUTHORIZED)
        else:
            self.send_json({"access_token": token, "token_type": "Bearer", "expires_in": TOKEN_SECONDS,
                            "scope": form.get("scope", "all-apis")})  # fmt: skip

    def require(self, privilege: str, volume: tuple[str, str, str]) -> None:
        """Raise HttpError if the user lacks a privilege for a volume."""
        if lacking := privileges.missing(self.server.catalog, self.user, "volume", volume, privilege):
            raise HttpError(HTTPStatus.FORBIDDEN, "PERMISSION_DENIED", lacking)

    def body(self) -> bytes:
        """Return the whole body of the request."""
        body, self.unread = self.rfile.read(self.unread), 0
        return body

    def save_body(self, path: Path) -> bool:
        """Write the body of the request to a file; False if the client goes away before its end."""
        with path.open("wb") as file:
            while self.unread and (part := self.rfile.read(min(self.unread, 1 << 20))):
                file.write(part)
                self.unread -= len(part)
        return not self.unread

    def send_json(
        self, content: Any, status: HTTPStatus = HTTPStatus.OK, headers: dict[str, str] | None = None
    ) -> None:
        """Answer with JSON."""
        self.send(status, json.dumps(content).encode(), "application/json", headers)

    def send(
        self,
        status: HTTPStatus,
        content: bytes | Path = b"",
        type_: str = "text/plain",
        headers: dict[str, str] | None = None,
        *,
        start: int = 0,
        method: str = "",
    ) -> None:
        """Respond with bytes, or with a file from `start`. `method` identifies the response for the faults."""
        if self.unread:  # the unread part of the request would be taken for the next one
            self.close_connection = True
        length = content.stat().st_size - start if isinstance(content, Path) else len(content)
        self.send_response(status)
        for name, value in {"Content-Type": type_, "Content-Length": str(length), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            cut_after = self.server.faults.cut(self.url_path, method)
            if cut_after is not None:
                data = content.read_bytes()[start:] if isinstance(content, Path) else content
                self.wfile.write(data[:cut_after])
                self.close_connection = True
            elif isinstance(content, Path):
                self._send_file(content, start)
            else:
                self.wfile.write(content)
        self.wfile.flush()

    def _send_file(self, path: Path, start: int) -> None:
        with path.open("rb") as file:
            file.seek(start)
            while part := file.read(1 << 20):
                self.wfile.write(part)
