"""The Files API of volumes, as databricks-sdk's `w.files` uses it, with multipart uploads and presigned URLs.

A file appears complete or not at all: it is written beside the volumes and renamed into place.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
import uuid
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from local_warehouse.contract import StatementFailed

if TYPE_CHECKING:
    from local_warehouse.http_server import _RequestHandler

FILES = "/api/2.0/fs/files"
DIRECTORIES = "/api/2.0/fs/directories"
DOWNLOAD_URL = "/api/2.0/fs/create-download-url"
PRESIGNED = "/presigned"
PAGE = 1000


class Uploads:
    """Files that are being received, in a folder that is emptied at the start."""

    def __init__(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder = folder

    def new(self) -> Path:
        """Return a path for a file that will be received."""
        return self.folder / uuid.uuid4().hex

    def begin(self, path: str, *, overwrite: bool) -> str:
        """Begin a multipart upload and return its session token."""
        token = uuid.uuid4().hex
        (self.folder / token).mkdir()
        (self.folder / token / "upload.json").write_text(json.dumps({"path": path, "overwrite": overwrite}))
        return token

    def parts(self, token: str) -> Path:
        """Return the folder of an upload's parts. Raises HttpError if there is no such upload."""
        folder = self.folder / token
        if not (folder / "upload.json").exists():
            raise _error(HTTPStatus.NOT_FOUND, "NOT_FOUND", "The upload session does not exist or has ended.")
        return folder


def is_presigned(request: _RequestHandler) -> bool:
    """Return True if the server has signed the URL, so that it needs no other permission, as in cloud storage."""
    path = request.url_path.removeprefix(PRESIGNED)
    return path != request.url_path and request.query.get("signature") == _signature(request, path)


def _signature(request: _RequestHandler, path: str) -> str:
    return hmac.new(request.server.credentials.token.encode(), path.encode(), "sha256").hexdigest()


def _presigned(request: _RequestHandler, path: str, **query: str | int) -> str:
    return (
        f"{request.server.url}{PRESIGNED}{quote(path)}?{urlencode({**query, 'signature': _signature(request, path)})}"
    )


def answer(request: _RequestHandler) -> None:
    """Answer a request of the Files API. Raises HttpError."""
    path, command = request.url_path, request.command
    if path.startswith(PRESIGNED):
        _answer_presigned(request, path.removeprefix(PRESIGNED))
    elif path == "/api/2.0/fs/create-upload-part-urls":
        _create_part_urls(request)
    elif path == "/api/2.0/fs/create-abort-upload-url":
        body = json.loads(request.body())
        url = _presigned(request, body["path"], abort=body["session_token"])
        request.send_json({"abort_upload_url": {"url": url, "headers": []}})
    elif path == DOWNLOAD_URL:
        file = _local(request, request.query["path"])
        _require(file.is_file(), file)
        request.send_json({"url": _presigned(request, request.query["path"]), "headers": []})
    elif path.startswith(f"{DIRECTORIES}/"):
        _answer_directory(request, _local(request, path.removeprefix(DIRECTORIES)))
    elif path.startswith(f"{FILES}/"):
        volume_path = path.removeprefix(FILES)
        file = _local(request, volume_path)
        if command == "POST":
            _answer_upload(request, volume_path, file)
        elif command == "PUT":
            _receive(request, file)
        elif command == "DELETE":
            _require(file.is_file(), file)
            file.unlink()
            request.send(HTTPStatus.NO_CONTENT)
        else:
            _send_file(request, file)
    else:
        raise _error(HTTPStatus.NOT_FOUND, "ENDPOINT_NOT_FOUND", f"No API found for '{command} {path}'")


def _error(status: HTTPStatus, code: str, message: str) -> Exception:
    from local_warehouse.http_server import HttpError

    return HttpError(status, code, message)


def _require(there: bool, path: Path) -> None:
    if not there:
        raise _error(
            HTTPStatus.NOT_FOUND, "NOT_FOUND", f"The file or directory being accessed is not found: {path.name}"
        )


def _local(request: _RequestHandler, path: str) -> Path:
    """Return the local path of a path in a volume.

    Raises HttpError if the path is in no volume, or if the user may not read or write there.
    """
    parts = PurePosixPath(path).parts
    if len(parts) < 5 or parts[1] != "Volumes" or ".." in parts:
        raise _error(HTTPStatus.BAD_REQUEST, "INVALID_PARAMETER_VALUE", f"Invalid path: {path}")
    catalog, schema, volume = (part.lower() for part in parts[2:5])
    try:
        known = volume in request.server.catalog.schema(catalog, schema).volumes
    except StatementFailed:
        known = False
    if not known:
        message = f"Volume '{catalog}.{schema}.{volume}' does not exist."
        raise _error(HTTPStatus.NOT_FOUND, "VOLUME_DOES_NOT_EXIST", message)
    reads = request.command in ("GET", "HEAD") or request.url_path == DOWNLOAD_URL
    request.require("READ VOLUME" if reads else "WRITE VOLUME", (catalog, schema, volume))
    return request.server.catalog.volumes_folder.joinpath(catalog, schema, volume, *parts[5:])


def _overwrite(request: _RequestHandler) -> bool:
    return request.query.get("overwrite", "false").lower() == "true"


def _place(received: Path, file: Path, *, overwrite: bool) -> None:
    """Move a received file to its place. Raises HttpError if there is one already."""
    if file.is_dir() or (file.exists() and not overwrite):
        raise _error(HTTPStatus.CONFLICT, "ALREADY_EXISTS", f"The file being created already exists: {file.name}")
    file.parent.mkdir(parents=True, exist_ok=True)
    received.replace(file)


def _receive(request: _RequestHandler, file: Path) -> None:
    received = request.server.uploads.new()
    try:
        if request.save_body(received):
            _place(received, file, overwrite=_overwrite(request))
            request.send(HTTPStatus.NO_CONTENT)
        else:  # the client went away
            request.close_connection = True
    finally:
        received.unlink(missing_ok=True)


def _send_file(request: _RequestHandler, file: Path) -> None:
    _require(file.is_file(), file)
    start = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
    size = file.stat().st_size
    headers = {"Last-Modified": formatdate(file.stat().st_mtime, usegmt=True)}
    if start:
        headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
    status = HTTPStatus.PARTIAL_CONTENT if start else HTTPStatus.OK
    request.send(status, file, "application/octet-stream", headers, start=start)


def _answer_directory(request: _RequestHandler, folder: Path) -> None:
    if request.command == "PUT":
        if folder.is_file():
            raise _error(HTTPStatus.CONFLICT, "ALREADY_EXISTS", f"{folder.name} is a file")
        folder.mkdir(parents=True, exist_ok=True)
        request.send(HTTPStatus.NO_CONTENT)
        return
    _require(folder.is_dir(), folder)
    if request.command == "DELETE":
        if any(folder.iterdir()):
            raise _error(HTTPStatus.BAD_REQUEST, "DIRECTORY_NOT_EMPTY", f"The directory {folder.name} is not empty")
        folder.rmdir()
        request.send(HTTPStatus.NO_CONTENT)
    elif request.command == "HEAD":
        request.send(HTTPStatus.OK)
    else:
        volumes = request.server.catalog.volumes_folder
        first = int(request.query.get("page_token") or 0)
        size = min(int(request.query.get("page_size") or PAGE), PAGE)
        children = sorted(folder.iterdir())
        contents = [
            {"path": f"/Volumes/{child.relative_to(volumes)}", "name": child.name, "is_directory": child.is_dir(),
             "last_modified": int(child.stat().st_mtime * 1000),
             **({} if child.is_dir() else {"file_size": child.stat().st_size})}
            for child in children[first : first + size]
        ]  # fmt: skip
        more = {"next_page_token": str(first + size)} if first + size < len(children) else {}
        request.send_json({"contents": contents, **more})


def _answer_upload(request: _RequestHandler, path: str, file: Path) -> None:
    action = request.query.get("action")
    if action == "initiate-upload":
        if file.exists() and not _overwrite(request):
            raise _error(HTTPStatus.CONFLICT, "ALREADY_EXISTS", f"The file being created already exists: {file.name}")
        token = request.server.uploads.begin(path, overwrite=_overwrite(request))
        request.send_json({"multipart_upload": {"session_token": token}})
    elif action == "complete-upload":
        folder = request.server.uploads.parts(request.query["session_token"])
        whole = request.server.uploads.new()
        with whole.open("wb") as target:
            for part in sorted(json.loads(request.body())["parts"], key=lambda part: part["part_number"]):
                received = folder / str(part["part_number"])
                if not received.exists() or part["etag"] != _etag(received):
                    raise _error(HTTPStatus.BAD_REQUEST, "INVALID_PARAMETER_VALUE", "A part is missing or differs.")
                with received.open("rb") as source:
                    shutil.copyfileobj(source, target)
        _place(whole, file, overwrite=json.loads((folder / "upload.json").read_text())["overwrite"])
        shutil.rmtree(folder)
        request.send_json({})
    else:
        raise _error(HTTPStatus.BAD_REQUEST, "INVALID_PARAMETER_VALUE", f"Unknown action {action}")


def _create_part_urls(request: _RequestHandler) -> None:
    body = json.loads(request.body())
    _local(request, body["path"])
    token, first = body["session_token"], body["start_part_number"]
    request.server.uploads.parts(token)
    urls = [
        {"url": _presigned(request, body["path"], upload=token, part=number), "part_number": number, "headers": []}
        for number in range(first, first + body["count"])
    ]
    request.send_json({"upload_part_urls": urls})


def _answer_presigned(request: _RequestHandler, path: str) -> None:
    uploads = request.server.uploads
    if request.command == "PUT":
        part = uploads.parts(request.query["upload"]) / str(int(request.query["part"]))
        received = uploads.new()
        if request.save_body(received):
            received.replace(part)
            request.send(HTTPStatus.OK, headers={"ETag": _etag(part)})
        else:
            received.unlink()
            request.close_connection = True
    elif request.command == "DELETE":
        shutil.rmtree(uploads.parts(request.query["abort"]))
        request.send(HTTPStatus.OK)
    else:
        _send_file(request, _local(request, path))


def _etag(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
