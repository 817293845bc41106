"""A real browser for tests: Chromium without a window, by Playwright."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium, installed by apt where it is missing and this user may; else skip the test, saying why."""
    path = _find() or _install()
    with sync_playwright() as playwright:
        # Chromium refuses its sandbox to root, which tests in a container are.
        browser = playwright.chromium.launch(executable_path=path, chromium_sandbox=os.getuid() != 0)
        try:
            yield browser
        finally:
            browser.close()


def _find() -> str | None:
    return next((path for path in map(shutil.which, _NAMES) if path), None)


def _install() -> str:
    if os.getuid() != 0 or not shutil.which("apt-get"):
        pytest.skip("no Chromium: `sudo apt-get install chromium`")
    for command in (["update"], ["install", "--yes", "--no-install-recommends", "chromium"]):
        ended = subprocess.run(["apt-get", "--quiet", *command], capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            pytest.skip(f"no Chromium, and apt-get {command[0]} failed: {ended.stderr.strip()[-300:]}")
    path = _find()
    if path is None:
        pytest.skip("no Chromium, though apt-get has installed it")
    return path
