"""The data-quality report of a run: what came in, what was found, what changed, the verdict."""
