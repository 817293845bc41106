"""Explains the history of a key: `python -m include.explain account A1`.

`landed` finds the key's records in the landing and checks them by the rules of staging; `timeline` combines them with
the versions in the snapshots; `shown` writes the explanation for a terminal, or as a page.
"""
