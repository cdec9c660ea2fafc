"""The handshake of two replicas: each proves that it has the shared secret, and that it serves the same log.

| step | from | message |
|---|---|---|
| 1 | asking end | `Hello`: protocol version, log, name, a fresh nonce |
| 2 | answering end | `Challenge`: name, a fresh nonce, its proof, its limit; or `Refusal` |
| 3 | asking end | `Proof`, and at once its questions |

A proof is the HMAC-SHA256, under the secret, of who proves and of all that was said: the version, the log, both names
and both nonces. So a proof fits one handshake, one direction and one log: a recorded one is worth nothing, and none can
be sent back to whom it came from. The order of the messages is the order of this table; anything else ends the attempt.

What this does not give is told in docs/adr/0005-peers-on-their-own-port.md.

Source: RFC 2104 (HMAC); the shape is that of SCRAM (RFC 5802) without its password hashing, since the secret is random.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from sharedlogkv_replica.engine.peer_wire import PROTOCOL_VERSION, encode_frame
from sharedlogkv_replica.errors import PeerFault, PeerRefused

NONCE_BYTES: Final = 32
HANDSHAKE_FRAME_LIMIT_BYTES: Final = 1024
SECRET_LEAST_BYTES: Final = 16

_MAGIC: Final = "sharedlogkv-peer"
_ASKING: Final = "asking"
_ANSWERING: Final = "answering"


class Hello(msgspec.Struct, frozen=True, array_like=True):
    """The first message. Its first two fields stay what they are in every version."""

    magic: str
    version: int
    log_id: str
    name: str
    nonce: bytes


class Challenge(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The answer to a `Hello` that fits."""

    name: str
    nonce: bytes
    proof: bytes
    frame_limit_bytes: int


class Refusal(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Why the connection ends. Whoever reads it must not trust it: it was sent before any proof."""

    fault: str
    text: str


class Proof(msgspec.Struct, frozen=True, array_like=True):
    """The asking end's proof."""

    proof: bytes


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """Who one end is.

    Attributes:
        name: the replica's.
        log_id: of the log that it follows.
        secret: shared by all replicas of one resource, and by nobody else.
    """

    name: str
    log_id: str
    secret: bytes


@dataclass(frozen=True, slots=True)
class Identifier:
    """Says who this replica is, at each handshake anew: the secret may be renewed while it runs.

    Attributes:
        name: the replica's.
        log_id: gives the id of the log that is followed; None while there is none.
        secret_file: holds the secret; white space around it does not count.
    """

    name: str
    log_id: Callable[[], str | None]
    secret_file: Path

    def __call__(self) -> PeerIdentity:
        """Who this replica is now.

        Raises:
            PeerRefused: it follows no log yet, or has no secret.
        """
        log_id = self.log_id()
        if log_id is None:
            raise PeerRefused(PeerFault.LOG, "this replica follows no log yet")
        try:
            secret = self.secret_file.read_bytes().strip()
        except OSError as error:
            text = f"the peer secret can't be read from {self.secret_file}: {error.strerror}"
            raise PeerRefused(PeerFault.NO_SECRET, text) from error
        if len(secret) < SECRET_LEAST_BYTES:
            text = (
                f"the peer secret in {self.secret_file} has {len(secret)} bytes; it needs {SECRET_LEAST_BYTES} or more"
            )
            raise PeerRefused(PeerFault.NO_SECRET, text)
        return PeerIdentity(self.name, log_id, secret)


class AskingHandshake:
    """The handshake of the end that asks.

    Attributes:
        hello: the first frame to send.
    """

    __slots__ = ("_hello", "_identity", "hello")

    def __init__(self, identity: PeerIdentity, *, nonce: bytes) -> None:
        """Begins a handshake; `nonce` is `NONCE_BYTES` random bytes that were never used before."""
        self._identity = identity
        self._hello = Hello(_MAGIC, PROTOCOL_VERSION, identity.log_id, identity.name, nonce)
        self.hello = bytes(encode_frame(self._hello))

    def prove(self, payload: memoryview) -> tuple[bytes, Challenge]:
        """The frame that answers the challenge in `payload`, and that challenge.

        Raises:
            PeerRefused: the other end refused us, or does not prove the secret, or speaks in another form.
        """
        reply = _decode(payload, _REPLIES)
        if isinstance(reply, Refusal):
            fault = PeerFault(reply.fault) if reply.fault in _FAULTS else PeerFault.MALFORMED
            raise PeerRefused(fault, f"the peer refuses: {reply.text[:300]}")
        if len(reply.nonce) != NONCE_BYTES:
            raise PeerRefused(PeerFault.MALFORMED, "the peer's nonce is of another length")
        if not hmac.compare_digest(reply.proof, _proof(self._identity.secret, _ANSWERING, self._hello, reply)):
            raise PeerRefused(PeerFault.SECRET, f"the peer {reply.name[:80]!r} does not prove our secret")
        proof = _proof(self._identity.secret, _ASKING, self._hello, reply)
        return bytes(encode_frame(Proof(proof))), reply


class AnsweringHandshake:
    """The handshake of the end that answers: `challenge`, then `verify`."""

    __slots__ = ("_challenge", "_hello", "_identify", "_secret")

    def __init__(self, identify: Callable[[], PeerIdentity]) -> None:
        self._identify = identify
        self._secret = b""
        self._hello: Hello | None = None
        self._challenge: Challenge | None = None

    @property
    def challenged(self) -> bool:
        """Whether `verify` comes next."""
        return self._challenge is not None

    def challenge(self, payload: memoryview, *, nonce: bytes, frame_limit_bytes: int) -> bytes:
        """The frame that answers the hello in `payload`; `nonce` as in `AskingHandshake`.

        Raises:
            PeerRefused: it is no hello, or one of another version or log, or we have no secret.
        """
        hello = _decode(payload, _HELLOS)
        if hello.magic != _MAGIC or len(hello.nonce) != NONCE_BYTES:
            raise PeerRefused(PeerFault.MALFORMED, "a connection to the peer port did not begin as a peer's")
        if hello.version != PROTOCOL_VERSION:
            text = f"replica {hello.name[:80]!r} speaks version {hello.version} of the peer protocol, and this one "
            raise PeerRefused(PeerFault.VERSION, text + f"version {PROTOCOL_VERSION}")
        identity = self._identify()
        if hello.log_id != identity.log_id:
            text = f"replica {hello.name[:80]!r} follows log {hello.log_id[:80]!r}, and this one {identity.log_id!r}"
            raise PeerRefused(PeerFault.LOG, text)
        challenge = Challenge(identity.name, nonce, b"", frame_limit_bytes)
        proof = _proof(identity.secret, _ANSWERING, hello, challenge)
        self._hello, self._challenge, self._secret = hello, challenge, identity.secret
        return bytes(encode_frame(Challenge(identity.name, nonce, proof, frame_limit_bytes)))

    def verify(self, payload: memoryview) -> str:
        """The asking end's name, which is now proved to have the secret.

        Raises:
            PeerRefused: `payload` does not prove it.
        """
        assert self._hello is not None, "verified before it was challenged"
        assert self._challenge is not None
        given = _decode(payload, _PROOFS).proof
        if not hmac.compare_digest(given, _proof(self._secret, _ASKING, self._hello, self._challenge)):
            raise PeerRefused(PeerFault.SECRET, f"replica {self._hello.name[:80]!r} does not prove our secret")
        return self._hello.name


def refusal_frame(refused: PeerRefused) -> bytes:
    """The frame that tells the asking end why it is refused; in one word where more is not a stranger's business."""
    told = str(refused) if refused.fault in (PeerFault.LOG, PeerFault.VERSION) else refused.fault.value
    return bytes(encode_frame(Refusal(refused.fault.value, told[:300])))


_T = TypeVar("_T")
_HELLOS: Final = msgspec.msgpack.Decoder(Hello)
_REPLIES: Final = msgspec.msgpack.Decoder(Challenge | Refusal)
_PROOFS: Final = msgspec.msgpack.Decoder(Proof)
_FAULTS: Final = frozenset(fault.value for fault in PeerFault)


def _decode(payload: memoryview, decoder: msgspec.msgpack.Decoder[_T]) -> _T:
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PeerRefused(PeerFault.MALFORMED, f"a message of the handshake can't be read: {error}") from None


def _proof(secret: bytes, who: str, hello: Hello, challenge: Challenge) -> bytes:
    """The proof that `who` gives in the handshake of `hello` and `challenge`, whose own proof is left out."""
    said = (who, hello, challenge.name, challenge.nonce, challenge.frame_limit_bytes)
    return hmac.digest(secret, msgspec.msgpack.encode(said), "sha256")
