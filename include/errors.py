"""What every error that the pipeline raises on purpose has in common."""


class PipelineError(Exception):
    """Something that a person has to mend; the message says what is wrong and what to do, and needs no traceback."""
