"""One-time migrations into this pipeline. Each is written for one version of its source and does not change."""
