"""Why a key's data is as it is: `python -m include.explain account A1`.

`landed` finds the key's records in the landing and checks them by the rules of staging; `timeline` puts them
beside the versions in the snapshots; `shown` writes the explanation for a terminal, or as a page.
"""
