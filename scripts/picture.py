"""Draw stdin as a terminal, for the documents: `make run | python -m scripts.picture FILE.svg`."""

from __future__ import annotations

import argparse
import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

THEME = TerminalTheme(
    (250, 250, 250),
    (40, 44, 52),
    [
        (40, 44, 52),
        (190, 50, 50),
        (40, 130, 60),
        (170, 110, 0),
        (30, 90, 180),
        (140, 60, 150),
        (0, 120, 130),
        (90, 90, 90),
    ],
)
COLOURS = {r"^\w+ {2,}": "bold", r"warn\b": "yellow", r"fail\b|refused": "red", r"pass\b": "green"}


def picture(text: str, title: str) -> str:
    """Return the text as an SVG of a terminal, with the fonts of the machine that shows it."""
    width = max((len(line) for line in text.splitlines()), default=0)
    console = Console(record=True, width=width + 1, file=io.StringIO())
    for line in text.splitlines():
        shown = Text(line, no_wrap=True)
        for pattern, style in COLOURS.items():
            shown.highlight_regex(pattern, style)
        console.print(shown, soft_wrap=True)
    svg = console.export_svg(title=title, theme=THEME)
    without_downloads = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return without_downloads.replace("Fira Code", "Menlo, Consolas, DejaVu Sans Mono")


def main(arguments: list[str] | None = None) -> int:
    """Write the picture; return 0."""
    parser = argparse.ArgumentParser(prog="python -m scripts.picture", description=__doc__)
    parser.add_argument("path", type=Path, help="the SVG to write")
    parser.add_argument("--title", default="make run", help="the title of the window")
    options = parser.parse_args(arguments)
    options.path.write_text(picture(sys.stdin.read(), options.title), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
