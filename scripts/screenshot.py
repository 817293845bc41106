"""Take a screenshot of a page in a browser: `python -m scripts.screenshot PAGE.html PICTURE.png`."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def find_browser() -> str | None:
    """Return the path of an installed Chromium, if there is one."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def main(arguments: list[str] | None = None) -> int:
    """Write the picture; return 0, or 1 with one line on stderr."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(prog="python -m scripts.screenshot", description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--width", type=int, default=1280, help="of the window, in pixels")
    parser.add_argument("--height", type=int, help="of the picture; default: the whole page")
    parser.add_argument("--dark", action="store_true", help="in the dark colour scheme")
    parser.add_argument("--unfold", action="store_true", help="unfold everything")
    options = parser.parse_args(arguments)
    browser_path = find_browser()
    if browser_path is None:
        print(
            f"error: none of {', '.join(BROWSERS)} is installed; on Debian: apt-get install chromium", file=sys.stderr
        )
        return 1
    no_sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses to start it for root
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=no_sandbox)
        page = browser.new_page(
            viewport={"width": options.width, "height": options.height or 800},
            color_scheme="dark" if options.dark else "light",
        )
        page.goto(options.page.resolve().as_uri())
        if options.unfold:
            page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
        page.screenshot(path=options.picture, full_page=options.height is None)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
