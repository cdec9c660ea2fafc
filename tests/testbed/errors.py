"""The one error that the testbed raises on purpose."""


class TestbedError(Exception):
    """Something that the user must know or do; the command line prints the message alone, without a traceback."""
