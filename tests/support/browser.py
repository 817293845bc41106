"""A real browser for tests: Debian's chromium, driven by Playwright."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from scripts.screenshot import BROWSERS, find_browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Start Chromium and end it; where none is installed the test is skipped, and says so."""
    from playwright.sync_api import sync_playwright

    path = find_browser()
    if path is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed (on Debian: apt-get install chromium)")
    no_sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses to start it for root
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=no_sandbox)
        yield browser
        browser.close()
