"""The handshake: both ends prove the secret, for this handshake, this direction and this log alone."""

from pathlib import Path

import msgspec
import pytest

from sharedlogkv_replica.engine.peer_handshake import (
    NONCE_BYTES,
    AnsweringHandshake,
    AskingHandshake,
    Challenge,
    Hello,
    Identifier,
    PeerIdentity,
    Proof,
    refusal_frame,
)
from sharedlogkv_replica.engine.peer_wire import FrameSplitter, encode_frame
from sharedlogkv_replica.errors import PeerFault, PeerRefused
from tests.support.peers import LOG, SECRET, identity

NONCE_1, NONCE_2, NONCE_3 = (bytes([n]) * NONCE_BYTES for n in (1, 2, 3))


def payload(frame: bytes | bytearray) -> memoryview:
    (found,) = FrameSplitter(limit_bytes=1024).split(bytes(frame))
    return found


def answering(of: PeerIdentity) -> AnsweringHandshake:
    return AnsweringHandshake(lambda: of)


def shake(asking: PeerIdentity, answering_identity: PeerIdentity) -> str:
    """Runs a handshake; returns the asking end's name as the other end proved it."""
    near = AskingHandshake(asking, nonce=NONCE_1)
    far = answering(answering_identity)
    challenge = far.challenge(payload(near.hello), nonce=NONCE_2, frame_limit_bytes=1000)
    proof, _ = near.prove(payload(challenge))
    return far.verify(payload(proof))


def fault_of(call: object) -> PeerFault:
    assert isinstance(call, pytest.ExceptionInfo)
    assert isinstance(call.value, PeerRefused)
    return call.value.fault


def test_two_replicas_with_one_secret_and_one_log_agree() -> None:
    assert shake(identity("asks"), identity("answers")) == "asks"


def test_the_asking_end_learns_who_answers_and_how_much_it_takes() -> None:
    near, far = AskingHandshake(identity("asks"), nonce=NONCE_1), answering(identity("answers"))
    _, challenge = near.prove(payload(far.challenge(payload(near.hello), nonce=NONCE_2, frame_limit_bytes=1000)))
    assert (challenge.name, challenge.frame_limit_bytes) == ("answers", 1000)


def test_another_secret_is_refused_by_the_asking_end_before_it_says_its_own_proof() -> None:
    with pytest.raises(PeerRefused, match="does not prove our secret") as caught:
        shake(identity(), identity(secret=b"another secret of good length"))
    assert fault_of(caught) is PeerFault.SECRET


def test_another_log_is_refused_in_words_that_name_both() -> None:
    with pytest.raises(PeerRefused, match=f"follows log 'other', and this one '{LOG}'") as caught:
        shake(identity(log_id="other"), identity())
    assert fault_of(caught) is PeerFault.LOG


def test_another_version_is_refused_in_words_that_name_both() -> None:
    hello = encode_frame(Hello("sharedlogkv-peer", 2, LOG, "newer", NONCE_1))
    with pytest.raises(PeerRefused, match=r"'newer' speaks version 2 .* version 1") as caught:
        answering(identity()).challenge(payload(hello), nonce=NONCE_2, frame_limit_bytes=1)
    assert fault_of(caught) is PeerFault.VERSION


def test_a_recorded_proof_is_worth_nothing_in_another_handshake() -> None:
    near, far = AskingHandshake(identity(), nonce=NONCE_1), answering(identity())
    proof, _ = near.prove(payload(far.challenge(payload(near.hello), nonce=NONCE_2, frame_limit_bytes=1)))
    again = answering(identity())
    again.challenge(payload(near.hello), nonce=NONCE_3, frame_limit_bytes=1)
    with pytest.raises(PeerRefused) as caught:
        again.verify(payload(proof))
    assert fault_of(caught) is PeerFault.SECRET


def test_a_recorded_challenge_is_worth_nothing_in_another_handshake() -> None:
    first = AskingHandshake(identity(), nonce=NONCE_1)
    recorded = answering(identity()).challenge(payload(first.hello), nonce=NONCE_2, frame_limit_bytes=1)
    with pytest.raises(PeerRefused) as caught:
        AskingHandshake(identity(), nonce=NONCE_3).prove(payload(recorded))
    assert fault_of(caught) is PeerFault.SECRET


def test_a_server_s_own_proof_sent_back_to_it_proves_nothing() -> None:
    near, far = AskingHandshake(identity(), nonce=NONCE_1), answering(identity())
    challenge = msgspec.msgpack.decode(
        payload(far.challenge(payload(near.hello), nonce=NONCE_2, frame_limit_bytes=1)), type=Challenge
    )
    with pytest.raises(PeerRefused):
        far.verify(payload(bytes(encode_frame(Proof(challenge.proof)))))


@pytest.mark.parametrize("field", ["name", "nonce", "frame_limit_bytes"])
def test_nothing_of_a_challenge_can_be_changed_on_its_way(field: str) -> None:
    near, far = AskingHandshake(identity(), nonce=NONCE_1), answering(identity())
    challenge = msgspec.msgpack.decode(
        payload(far.challenge(payload(near.hello), nonce=NONCE_2, frame_limit_bytes=1)), type=Challenge
    )
    other = {"name": "x", "nonce": NONCE_3, "frame_limit_bytes": 2}[field]
    forged = msgspec.structs.replace(challenge, **{field: other})
    with pytest.raises(PeerRefused) as caught:
        near.prove(payload(bytes(encode_frame(forged))))
    assert fault_of(caught) is PeerFault.SECRET


@pytest.mark.parametrize(
    "said",
    [b"GET / HTTP/1.1", ["sharedlogkv-peer", 1, LOG, "short nonce", b"1"], ["other", 1, LOG, "r", NONCE_1], {}],
    ids=repr,
)
def test_what_is_no_hello_is_malformed(said: object) -> None:
    with pytest.raises(PeerRefused) as caught:
        answering(identity()).challenge(payload(bytes(encode_frame(said))), nonce=NONCE_2, frame_limit_bytes=1)
    assert fault_of(caught) is PeerFault.MALFORMED


def test_a_refusal_is_told_to_the_asking_end_in_its_words() -> None:
    frame = refusal_frame(PeerRefused(PeerFault.VERSION, "speaks version 2"))
    with pytest.raises(PeerRefused, match="the peer refuses: speaks version 2") as caught:
        AskingHandshake(identity(), nonce=NONCE_1).prove(payload(frame))
    assert fault_of(caught) is PeerFault.VERSION


def test_a_refusal_tells_a_stranger_nothing_of_files() -> None:
    assert b"/etc" not in refusal_frame(PeerRefused(PeerFault.NO_SECRET, "can't be read from /etc/secret"))


def test_the_secret_is_read_at_each_handshake_without_the_white_space_around_it(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    identify = Identifier("r", lambda: LOG, file)
    file.write_bytes(SECRET + b"\n")
    assert identify() == PeerIdentity("r", LOG, SECRET)
    file.write_bytes(b"the next secret of good length")
    assert identify().secret == b"the next secret of good length"


@pytest.mark.parametrize(
    ("content", "words"), [(None, "can't be read"), (b"", "has 0 bytes"), (b" short \n", "has 5 bytes; it needs 16")]
)
def test_without_a_good_secret_there_is_no_handshake(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(PeerRefused, match=words) as caught:
        Identifier("r", lambda: LOG, file)()
    assert fault_of(caught) is PeerFault.NO_SECRET


def test_before_the_log_is_known_there_is_no_handshake(tmp_path: Path) -> None:
    with pytest.raises(PeerRefused) as caught:
        Identifier("r", lambda: None, tmp_path / "secret")()
    assert fault_of(caught) is PeerFault.LOG
