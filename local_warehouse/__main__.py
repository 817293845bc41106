"""Start the local SQL warehouse: `python -m local_warehouse --folder DIR`. Prints one line of JSON when it is ready."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import sys
from contextlib import suppress
from pathlib import Path

from include.files import Locked, lock
from local_warehouse.catalog import Catalog
from local_warehouse.contract import ADMIN
from local_warehouse.engine import SailEngine
from local_warehouse.http_server import Credentials, WarehouseServer
from local_warehouse.sessions import LocalWarehouse
from local_warehouse.transport import ThriftService


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    options = _options(arguments)
    try:
        with lock(options.folder / "warehouse.lock", "serving this warehouse"):
            _serve(options)
    except (Locked, OSError) as error:  # OSError: the port is taken, or the folder can't be written to
        print(error, file=sys.stderr)
        return 1
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local_warehouse", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where tables, volumes and the catalog are kept")
    parser.add_argument("--port", type=int, default=0, help="default: any that is free")
    parser.add_argument("--token", help="personal access token that clients show; default: one made at the first start")
    parser.add_argument("--client-id", help="of OAuth machine-to-machine")
    parser.add_argument("--client-secret")
    parser.add_argument("--catalog", default="main", help="made if it doesn't exist; the default of new sessions")
    parser.add_argument("--http-path", default="/sql/1.0/warehouses/local")
    parser.add_argument("--print-env", action="store_true", help="make schema and volume, print lines for .env")
    parser.add_argument("--schema", default="lc_pipeline", help="for --print-env")
    options = parser.parse_args(arguments)
    options.folder = options.folder.resolve()
    if bool(options.client_id) != bool(options.client_secret):
        parser.error("--client-id and --client-secret go together")
    options.token = options.token or _kept_token(options.folder / "token")
    return options


def _kept_token(path: Path) -> str:
    """Return the token of an earlier start, or create one, so that a .env stays valid."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(f"dapi{secrets.token_hex(16)}", encoding="utf-8")
    return path.read_text(encoding="utf-8")


def _serve(options: argparse.Namespace) -> None:
    catalog = Catalog(options.folder, options.catalog)
    engine = SailEngine()
    warehouse = LocalWarehouse(catalog, engine)
    credentials = Credentials(options.token, options.client_id, options.client_secret)
    server = WarehouseServer(
        ThriftService(warehouse), catalog, credentials, port=options.port, http_path=options.http_path
    )
    if options.print_env:
        session = warehouse.open_session(ADMIN, options.catalog, None, {})
        session.execute(f"create schema if not exists `{options.schema}`")
        session.execute(f"create volume if not exists `{options.schema}`.landing")
    # A handler that sets an Event would hang if the signal came just as the main thread begins to wait for the Event.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        print(_lines_for_env(server, options) if options.print_env else _line(server, options), flush=True)
        server.serve_forever()
    with warehouse.lock:  # let a running statement finish
        engine.stop()


def _line(server: WarehouseServer, options: argparse.Namespace) -> str:
    return json.dumps({"host": server.url, "http_path": options.http_path, "token": options.token,
                       "catalog": options.catalog.lower(), "pid": os.getpid()})  # fmt: skip


def _lines_for_env(server: WarehouseServer, options: argparse.Namespace) -> str:
    return "\n".join(
        [
            "The local SQL warehouse is ready; Ctrl-C ends it. Lines for .env:",
            "",
            "DATABASE_TYPE=databricks",
            f"DATABRICKS_CONNECTION_URI={server.url}{options.http_path}",
            f"DATABRICKS_CATALOG={options.catalog}",
            f"DATABRICKS_SCHEMA={options.schema}",
            f"DATABRICKS_TOKEN={options.token}",
            f"DATABRICKS_VOLUME=/Volumes/{options.catalog}/{options.schema}/landing",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
