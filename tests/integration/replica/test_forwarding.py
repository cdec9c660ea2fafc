"""Writes and reads at replicas that do not lead, over HTTP, between real processes."""

import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.led_store import LedReplica, LedStore
from tests.support.replica_http import Reply, key_path
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(120)

LINEARIZABLE = "linearizable"
RETRY_SECONDS = 20.0


def send(
    replica: LedReplica, method: str, key: bytes, value: bytes | None = None, *, query: str = "", **headers: str
) -> Reply:
    """The answer of one replica; a header `Some-Name` is given as `some_name`."""
    fields = {name.replace("_", "-"): text for name, text in headers.items()}
    with replica.client() as client:
        return client.request(method, key_path(key) + query, body=value, headers=fields)


def problem_of(reply: Reply) -> str:
    """What a refusal is called."""
    return str(reply.json()["type"].rpartition("/")[2])


def until_written(attempt: Callable[[], Reply]) -> Reply:
    """The first answer that is a success; before it, nobody may lead."""

    def succeeded() -> Reply | None:
        reply = attempt()
        return reply if reply.status == 204 else None

    return wait_until(succeeded, what="a write", timeout_seconds=RETRY_SECONDS)


# --- writes ---


def test_a_write_at_a_follower_is_forwarded_and_its_answer_is_the_leader_s(store: LedStore) -> None:
    leader, (follower, other) = store.leader(), store.followers()
    before = follower.metric("slkv_replica_forwarded_writes_total")
    written = send(follower, "PUT", b"forwarded", b"1")
    assert written.status == 204
    assert follower.metric("slkv_replica_forwarded_writes_total") == before + 1
    for replica in (leader, follower, other):
        read = send(replica, "GET", b"forwarded", SLKV_Token=written.token)
        assert (read.body, read.headers["etag"]) == (b"1", written.headers["etag"])


def test_a_condition_is_held_against_what_other_replicas_have_taken_just_before(store: LedStore) -> None:
    first, second = store.followers()
    created = send(first, "PUT", b"conditional", b"1", If_None_Match="*")
    again = send(second, "PUT", b"conditional", b"2", If_None_Match="*")
    assert (created.status, again.status, problem_of(again)) == (204, 412, "precondition-failed")
    assert again.headers["etag"] == created.headers["etag"]
    assert send(second, "GET", b"conditional", SLKV_Token=again.token).body == b"1"
    replaced = send(second, "PUT", b"conditional", b"3", If_Match=again.headers["etag"])
    late = send(first, "DELETE", b"conditional", If_Match=created.headers["etag"])
    assert (replaced.status, late.status, late.headers["etag"]) == (204, 412, replaced.headers["etag"])


def test_of_many_clients_at_all_replicas_one_creates_a_key(store: LedStore) -> None:
    with ThreadPoolExecutor(30) as clients:
        replies = clients.map(
            lambda n: send(store.replicas[n % 3], "PUT", b"raced", str(n).encode(), If_None_Match="*"), range(30)
        )
        statuses = sorted(reply.status for reply in replies)
    assert statuses == [204] + [412] * 29


def test_a_repeated_request_is_carried_out_once_whoever_is_asked_and_whoever_leads(store: LedStore) -> None:
    """At another replica, after a fail-over, and after all have started anew."""
    leader, (first, second) = store.leader(), store.followers()

    def ask(replica: LedReplica) -> Reply:
        return send(replica, "PUT", b"once", b"1", If_None_Match="*", Idempotency_Key="order-1")

    written = ask(first)
    assert (written.status, written.headers.get("idempotency-replayed")) == (204, None)
    send(second, "PUT", b"once", b"2")
    replies = [ask(second), ask(leader)]
    leader.kill()
    replies.append(until_written(lambda: ask(first)))
    store.stop()
    store.start()
    replies += [ask(replica) for replica in store.replicas]
    for reply in replies:
        assert (reply.status, reply.headers["idempotency-replayed"]) == (204, "true")
        assert reply.headers["etag"] == written.headers["etag"]
    assert send(second, "GET", b"once", query="?consistency=linearizable").body == b"2"


def test_a_request_under_way_when_the_leader_dies_is_carried_out_once_by_the_next(store: LedStore) -> None:
    leader, (follower, _) = store.leader(), store.followers()
    stop = threading.Event()
    versions: dict[int, str] = {}

    def write() -> None:
        number = 0
        while not stop.is_set() or number < 10:
            number += 1
            key, name = f"moving-{number}".encode(), f"moving-{number}"
            reply = until_written(lambda k=key, n=name: send(follower, "PUT", k, b"1", Idempotency_Key=n))  # type: ignore[misc] # mypy can't infer it
            versions[number] = reply.headers["etag"]

    with ThreadPoolExecutor(1) as client:
        writing = client.submit(write)
        try:
            wait_until(lambda: len(versions) > 20, what="some writes", timeout_seconds=RETRY_SECONDS)
            leader.kill()
            store.leader()
        finally:
            stop.set()
        writing.result()
    for number, version in versions.items():
        again = send(follower, "PUT", f"moving-{number}".encode(), b"1", Idempotency_Key=f"moving-{number}")
        assert (again.headers["idempotency-replayed"], again.headers["etag"]) == ("true", version)


# --- no leader, a silent one, and too much for it ---


def test_without_a_leader_a_write_is_refused_for_now_and_the_next_leader_takes_it(store: LedStore) -> None:
    leader, (follower, _) = store.leader(), store.followers()
    leader.kill()
    refused = send(follower, "PUT", b"orphan", b"1")
    assert (refused.status, problem_of(refused), refused.headers["retry-after"]) == (503, "no-leader", "1")
    assert "nothing was written" in refused.json()["detail"]
    assert (
        until_written(lambda: send(follower, "PUT", b"orphan", b"2", If_None_Match="*", Idempotency_Key="o")).status
        == 204
    )


def test_a_forwarded_write_that_the_leader_has_not_answered_is_unknown_and_not_failed(store: LedStore) -> None:
    leader, (follower, _) = store.leader(), store.followers()
    with leader.frozen():
        reply = send(follower, "PUT", b"frozen", b"1")
    assert (reply.status, problem_of(reply)) == (504, "outcome-unknown")
    assert "may be in the log" in reply.json()["detail"]


def test_writes_beyond_the_queue_of_those_that_wait_for_a_leader_are_refused_at_once(store: LedStore) -> None:
    leader, (follower, _) = store.leader(), store.followers()
    leader.kill()
    with ThreadPoolExecutor(80) as clients:  # of a megabyte each: more than the 64 MiB that may wait
        replies = list(clients.map(lambda n: send(follower, "PUT", b"large-%d" % n, bytes(1_000_000)), range(80)))
    crowded = [reply for reply in replies if b"wait for the leader already; retry later" in reply.body]
    assert crowded, {(reply.status, reply.body) for reply in replies}
    for reply in crowded:
        assert (reply.status, problem_of(reply), reply.headers["retry-after"]) == (503, "log-unavailable", "1")


def test_a_replica_with_another_secret_is_refused_told_and_stands_in_nobody_s_way(store: LedStore) -> None:
    leader, (follower, _) = store.leader(), store.followers()
    stranger = store.stranger(secret="another secret, as good as the first one")
    stranger.start()
    try:
        stranger.await_ready()
        refused = send(stranger, "PUT", b"strange", b"1")
        assert (refused.status, problem_of(refused), refused.headers["retry-after"]) == (503, "no-leader", "1")
        faults = {line["fault"] for line in stranger.logged("no connection to the leader")}
        assert faults == {"secret"}
        assert "secret" in stranger.logged("no connection to the leader")[0]["detail"]
        assert stranger.metric("slkv_replica_peer_failures_total", '{fault="secret",side="asking"}') > 0
        assert stranger.status()["leader"]["name"] == leader.name, "it asks, and does not claim"
        assert send(follower, "PUT", b"strange", b"2", If_None_Match="*").status == 204
    finally:
        stranger.kill()


# --- reads ---


def test_a_linearizable_read_at_a_follower_sees_what_another_client_was_acknowledged(store: LedStore) -> None:
    writer, reader = store.followers()
    questions = reader.metric("slkv_replica_read_index_questions_total")
    barriers = reader.metric("slkv_replica_barriers_total")
    with writer.client() as writing, reader.client() as reading:
        for number in range(100):
            assert writing.put(b"shared", str(number).encode()).status == 204
            assert reading.get(b"shared", consistency=LINEARIZABLE).body == str(number).encode()
    assert reader.metric("slkv_replica_read_index_questions_total") >= questions + 100
    assert reader.metric("slkv_replica_barriers_total") == barriers, "the leader's word was enough"


def test_without_a_leader_a_linearizable_read_is_answered_by_way_of_the_log(store: LedStore) -> None:
    leader, (follower, other) = store.leader(), store.followers()
    other.kill()
    written = send(follower, "PUT", b"lonely", b"1")
    leader.kill()
    barriers = follower.metric("slkv_replica_barriers_total")
    read = send(follower, "GET", b"lonely", query="?consistency=linearizable")
    assert (read.status, read.body, read.headers["etag"]) == (200, b"1", written.headers["etag"])
    assert follower.metric("slkv_replica_barriers_total") > barriers


def test_a_session_goes_on_at_any_replica_with_its_token(store: LedStore) -> None:
    leader = store.leader()
    with leader.client() as writing:
        readers = [follower.client() for follower in store.followers()]
        with readers[0] as one, readers[1] as two:
            for number in range(100):
                written = writing.put(b"session", str(number).encode())
                for client in (one, two):
                    read = client.get(b"session", token=written.token)
                    assert (read.body, read.headers["etag"]) == (str(number).encode(), written.headers["etag"])
                    assert int(read.token.rpartition(":")[2]) >= int(written.token.rpartition(":")[2])


def test_every_answer_of_every_replica_bears_a_token_and_tells_its_lag(store: LedStore) -> None:
    for replica in store.replicas:
        written = send(replica, "PUT", b"told", b"1")
        replies = [
            written,
            send(replica, "PUT", b"told", b"1", If_None_Match="*"),
            send(replica, "GET", b"told", If_None_Match=written.headers["etag"], SLKV_Token=written.token),
            send(replica, "DELETE", b"told"),
            *(
                send(replica, "GET", b"told", query=f"?consistency={level}")
                for level in ("eventual", "bounded", "session", LINEARIZABLE)
            ),
            send(replica, "HEAD", b"told"),
        ]
        with replica.client() as client:
            replies.append(client.request("GET", "/v1/kv?limit=1"))
        assert [reply.status for reply in replies[:4]] == [204, 412, 304, 204]
        for reply in replies:
            assert int(reply.headers["slkv-lag-ms"]) >= 0
            assert reply.token.count(":") == 2


def test_a_leader_that_is_told_to_stop_hands_over_and_no_write_fails(store: LedStore) -> None:
    leader, (follower, _) = store.leader(), store.followers()
    changes = follower.metric("slkv_replica_leader_changes_total")
    leader.signal(signal.SIGTERM)
    with follower.client() as client:
        replies = [client.put(b"handed over", str(number).encode()) for number in range(200)]
    assert {reply.status for reply in replies} == {204}
    leader.kill()
    store.leader()
    assert follower.metric("slkv_replica_leader_changes_total") == changes + 1
