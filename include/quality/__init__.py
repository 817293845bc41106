"""The data quality report of a run: what was received, found and changed, and the verdict."""
