"""What can go wrong with a benchmark that is not a figure."""


class BenchError(Exception):
    """Something that a benchmark needs is missing or failed; the message says what, and what to do."""
