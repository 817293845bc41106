"""One-time migrations into this pipeline, each frozen as of the version that it carries over."""
