"""The header lines that say of which state an answer is: token, version, and how far the replica is behind.

A token of an answer never stands for less than the one that its request bore. So a client that sends its token with
every request may go on with that of the last answer, whatever its status, and sees nothing older than it has seen.
"""

from sharedlogkv_replica.core.records import Offset
from sharedlogkv_replica.core.token import LogIdentity, Token, parse_token
from sharedlogkv_replica.engine.replica import Replica
from sharedlogkv_replica.errors import InvalidToken


def state_lines(replica: Replica) -> bytes:
    """Token and lag of the map, which is there; no token while the log has not had a single record."""
    if replica.position == 0:
        return _known_lag_line(replica)
    return token_line(replica.identity, Offset(replica.position - 1)) + _known_lag_line(replica)


def problem_lines(replica: Replica, sent: bytes | None) -> bytes:
    """Token and lag of an answer that shows nothing of the map, to a request that bore the token `sent`.

    The token is that of the map, or `sent` where that is further: it claims nothing of a write that has failed or is in
    doubt. Empty while there is no map: part of one would stand for a state that nobody may be shown.
    """
    if not replica.standing.ready:
        return b""
    offset = later(Offset(replica.position - 1), sent, replica.identity)
    token = b"" if offset < 0 else token_line(replica.identity, offset)
    return token + _known_lag_line(replica)


def later(offset: Offset, sent: bytes | None, log: LogIdentity) -> Offset:
    """`offset`, or that of the token `sent`, if it is one, of the same log, and further."""
    if sent is None:
        return offset
    try:
        token = parse_token(sent.decode("latin-1"))
    except InvalidToken:
        return offset
    return max(offset, token.offset) if token.log == log else offset


def token_line(log: LogIdentity, offset: Offset) -> bytes:
    """The token that stands for `log` up to `offset`."""
    return f"SLKV-Token: {Token(log, offset)}\r\n".encode("ascii")


def lag_line(replica: Replica) -> bytes:
    """How far the map is behind the log; empty while there is no map."""
    return _known_lag_line(replica) if replica.standing.ready else b""


def _known_lag_line(replica: Replica) -> bytes:
    return b"SLKV-Lag-Ms: %d\r\n" % replica.lag_ms()


def tag_line(version: Offset) -> bytes:
    """The version of a key, as an entity tag."""
    return b'ETag: "%d"\r\n' % version
