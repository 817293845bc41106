"""The metadata part of the REST API: warehouses, catalogs, schemas, volumes, tables, and the current user."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from local_warehouse.contract import StatementFailed

if TYPE_CHECKING:
    from local_warehouse.http_server import _RequestHandler

UNITY = "/api/2.1/unity-catalog/"


def answer(request: _RequestHandler) -> None:
    """Answer a request. Raises HttpError."""
    from local_warehouse.http_server import HttpError

    path, parts = request.url_path, request.url_path.strip("/").split("/")
    try:
        if request.command == "GET" and path == "/api/2.0/preview/scim/v2/Me":
            request.send_json({"id": "1", "userName": request.user, "displayName": request.user, "active": True})
        elif request.command == "GET" and path.startswith("/api/2.0/sql/warehouses"):
            request.send_json(_warehouses(request, parts[4] if len(parts) > 4 else None))
        elif path.startswith(UNITY):
            request.send_json(_unity(request, parts[3], parts[4].lower() if len(parts) > 4 else None))
        else:
            message = f"No API found for '{request.command} {path}'"
            raise HttpError(HTTPStatus.NOT_FOUND, "ENDPOINT_NOT_FOUND", message)
    except StatementFailed as error:
        kind = parts[3].removesuffix("s").upper()
        raise HttpError(HTTPStatus.NOT_FOUND, f"{kind}_DOES_NOT_EXIST", str(error)) from error


def _warehouses(request: _RequestHandler, wanted: str | None) -> dict[str, Any]:
    from local_warehouse.http_server import HttpError

    id_ = request.server.http_path.rsplit("/", 1)[-1]
    warehouse = {"id": id_, "name": id_, "state": "RUNNING", "num_clusters": 1, "cluster_size": "local",
                 "odbc_params": {"hostname": "127.0.0.1", "path": request.server.http_path,
                                 "port": request.server.server_port, "protocol": "http"}}  # fmt: skip
    if wanted is None:
        return {"warehouses": [warehouse]}
    if wanted != id_:
        message = f"SQL warehouse {wanted} does not exist."
        raise HttpError(HTTPStatus.NOT_FOUND, "RESOURCE_DOES_NOT_EXIST", message)
    return warehouse


def _unity(request: _RequestHandler, kind: str, full_name: str | None) -> dict[str, Any]:
    """Return an object, or a list of them. Raises StatementFailed for one that doesn't exist."""
    catalog = request.server.catalog
    if request.command == "POST" and kind == "volumes":
        body = json.loads(request.body())
        name = (body["catalog_name"].lower(), body["schema_name"].lower(), body["name"].lower())
        if name[2] in catalog.schema(*name[:2]).volumes:
            from local_warehouse.http_server import HttpError

            message = f"Volume '{'.'.join(name)}' already exists"
            raise HttpError(HTTPStatus.CONFLICT, "VOLUME_ALREADY_EXISTS", message)
        request.require("CREATE VOLUME", name)
        with catalog.lock:
            catalog.create_volume(name, body.get("comment"), request.user)
        return _volume(request, *name)
    parts = full_name.split(".") if full_name else []
    found: list[dict[str, Any]]
    if kind == "catalogs":
        names = parts or list(catalog.catalogs)
        found = [{"name": name, "catalog_type": "MANAGED_CATALOG"} for name in names if catalog.schemas(name)]
    elif kind == "schemas":
        of = parts[0] if parts else request.query["catalog_name"].lower()
        names = parts[1:] or list(catalog.schemas(of))
        found = [
            {"name": name, "catalog_name": of, "full_name": f"{of}.{name}", "comment": catalog.schema(of, name).comment}
            for name in names
        ]
    elif kind == "volumes":
        of, schema = parts[:2] or (request.query["catalog_name"].lower(), request.query["schema_name"].lower())
        found = [_volume(request, of, schema, name) for name in parts[2:] or catalog.schema(of, schema).volumes]
    elif kind == "tables" and len(parts) == 3:
        relation = catalog.relation((parts[0], parts[1], parts[2]))
        found = [{"name": parts[2], "catalog_name": parts[0], "schema_name": parts[1], "full_name": full_name,
                  "table_type": "VIEW" if relation.is_view else "MANAGED"}]  # fmt: skip
    else:
        raise StatementFailed("ENDPOINT_NOT_FOUND", f"Nothing is known of {kind}", "0A000")
    return found[0] if parts else {kind: found}


def _volume(request: _RequestHandler, catalog: str, schema: str, name: str) -> dict[str, Any]:
    volumes = request.server.catalog.schema(catalog, schema).volumes
    if name not in volumes:
        message = f"Volume '{catalog}.{schema}.{name}' does not exist."
        raise StatementFailed("VOLUME_DOES_NOT_EXIST", message, "42704")
    return {"name": name, "catalog_name": catalog, "schema_name": schema, "full_name": f"{catalog}.{schema}.{name}",
            "volume_type": "MANAGED", "owner": volumes[name].owner, "comment": volumes[name].comment}  # fmt: skip
