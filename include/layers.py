"""The layers of the pipeline, in order: the task groups, the dbt tags and the report's sections all come from here."""

LAYERS = ("source", "staging", "snapshots", "intermediate", "marts")
