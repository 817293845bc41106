"""Explain the history of an account or a customer: `python -m include.explain account A1`.

Shows every version with the record that made it, quarantined and duplicate records, days on which the key was absent or
an orphan, and how the interest was calculated. Names are masked.
"""

from __future__ import annotations

import argparse
import sys

from include.entities import ENTITIES
from include.errors import run_command
from include.explain.shown import page_of, text_of
from include.explain.timeline import explain
from include.past import moment
from include.settings import load_settings


def main(arguments: list[str] | None = None) -> int:
    """Return 0, or 1 with one line on stderr that says what is wrong."""
    entities = {entity.name: entity for entity in ENTITIES}
    parser = argparse.ArgumentParser(prog="python -m include.explain", description=__doc__)
    parser.add_argument("entity", choices=entities, help="the kind of key")
    parser.add_argument("key", help="its account_id or customer_id")
    parser.add_argument("--at", type=moment, help="leave out what came after a day (UTC), or a time; default: all")
    parser.add_argument("--show-names", action="store_true", help="do not mask names")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--html", action="store_true", help="print a page")
    options = parser.parse_args(arguments)

    def show() -> None:
        found = explain(
            load_settings(), entities[options.entity], options.key, at=options.at, show_names=options.show_names
        )
        if options.json:
            print(found.model_dump_json(indent=2))
        else:
            print(page_of(found) if options.html else text_of(found))

    return run_command(show)


if __name__ == "__main__":
    sys.exit(main())
