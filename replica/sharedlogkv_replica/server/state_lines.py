"""The header lines that say of which state an answer is: token, version, and how far the replica is behind."""

from sharedlogkv_replica.core.records import Offset
from sharedlogkv_replica.core.token import LogIdentity, Token
from sharedlogkv_replica.engine.replica import Replica


def state_lines(replica: Replica) -> bytes:
    """Token and lag of what the map holds now; no token while the log has not had a single record."""
    if replica.position == 0:
        return lag_line(replica)
    return token_line(replica.identity, Offset(replica.position - 1)) + lag_line(replica)


def token_line(log: LogIdentity, offset: Offset) -> bytes:
    """The token that stands for `log` up to `offset`."""
    return f"SLKV-Token: {Token(log, offset)}\r\n".encode("ascii")


def lag_line(replica: Replica) -> bytes:
    """How far the map is behind the log."""
    return b"SLKV-Lag-Ms: %d\r\n" % replica.lag_ms()


def tag_line(version: Offset) -> bytes:
    """The version of a key, as an entity tag."""
    return b'ETag: "%d"\r\n' % version
