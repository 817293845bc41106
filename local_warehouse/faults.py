"""Faults that tests request with `PUT /_faults`: a server that is overloaded, or gone in mid-response.

The body is one fault, or a list of them, or `{}` for none; the response has those that were still to come:
`{"status": 503, "times": 3, "retry_after": 1, "path": "/sql"}` responds with that status;
`{"cut_after_bytes": 1000}` drops the connection after that many bytes of a response's body;
`{"cut_mid_fetch": true}` drops it in the middle of a response with further rows of a result.
Each applies to requests whose path begins with `path` (default: all), `times` times (default: 1), after skipping
`skip` of them.
"""

from __future__ import annotations

import threading
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local_warehouse.http_server import _RequestHandler

MID_FETCH_BYTES = 100


class Faults:
    """The faults that are still to come."""

    def __init__(self) -> None:
        self._faults: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def set(self, faults: dict[str, Any] | list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Replace the faults; return those that were still to come."""
        with self._lock:
            to_come = self._faults
            self._faults = [dict(fault) for fault in (faults if isinstance(faults, list) else [faults]) if fault]
        return to_come

    def before(self, request: _RequestHandler) -> bool:
        """Answer a request with an error, if one is to come. Return True if it was answered."""
        fault = self._take(request.url_path, "status")
        if fault is None:
            return False
        request.body()
        headers = {"Retry-After": str(fault["retry_after"])} if "retry_after" in fault else {}
        content = b'{"error_code": "TEMPORARILY_UNAVAILABLE", "message": "The service is temporarily unavailable."}'
        request.send(HTTPStatus(fault["status"]), content, "application/json", headers)
        return True

    def cut(self, path: str, method: str) -> int | None:
        """Return after how many bytes of this response to drop the connection, or None."""
        if method == "FetchResults" and self._take(path, "cut_mid_fetch"):
            return MID_FETCH_BYTES
        fault = self._take(path, "cut_after_bytes")
        return int(fault["cut_after_bytes"]) if fault else None

    def _take(self, path: str, kind: str) -> dict[str, Any] | None:
        with self._lock:
            for fault in self._faults:
                if kind in fault and path.startswith(fault.get("path", "")):
                    if fault.get("skip", 0):
                        fault["skip"] -= 1
                        return None
                    fault["times"] = fault.get("times", 1) - 1
                    if fault["times"] <= 0:
                        self._faults.remove(fault)
                    return fault
        return None
