"""The exposition, and its documentation."""

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sharedlogkv_replica.core.modes import WriteMode
from sharedlogkv_replica.engine.forward import Forwarder
from sharedlogkv_replica.engine.leader_mode import LeaderSettings
from sharedlogkv_replica.engine.peers import ForwardLimits, PeerCounters
from sharedlogkv_replica.engine.replica import Replica
from sharedlogkv_replica.errors import PeerFault
from sharedlogkv_replica.log.memory import MemoryBroker, MemoryLog
from sharedlogkv_replica.metrics import Metrics, PeerCollector
from sharedlogkv_replica.server.counters import HttpCounters
from tests.support.peers import ScriptedLeader

REFERENCE = Path(__file__).parents[3] / "docs" / "replica.md"


def peers() -> PeerCollector:
    forwarder = Forwarder(ScriptedLeader(), ForwardLimits(timeout_seconds=5), dialer=None)
    answering = PeerCounters(open_connections=2)
    answering.failures[PeerFault.SECRET] += 1
    return PeerCollector(forwarder, asking=PeerCounters(), answering=answering)


def exposed(write_mode: WriteMode = WriteMode.LEADERLESS) -> str:
    log = MemoryLog(MemoryBroker())
    leader = LeaderSettings("r", "", lease_seconds=3, jitter=0.5, write_timeout_seconds=5)
    replica = Replica(
        log,
        name="r",
        write_mode=write_mode,
        write_timeout_seconds=5,
        value_limit_bytes=1 << 20,
        leader=leader if write_mode is WriteMode.LEADER else None,
    )
    http = HttpCounters()
    http.count_answer(b"GET", 404)
    http.write_seconds.observe(0.003)
    return Metrics(replica, log.counters, http, peers=peers()).exposition().decode()


def test_the_exposition_is_in_prometheus_text_format() -> None:
    families = {family.name: family for family in text_string_to_metric_families(exposed())}
    assert families["slkv_replica_ready"].samples[0].value == 0
    assert {sample.labels["reason"]: sample.value for sample in families["slkv_replica_standing"].samples}[
        "Starting"
    ] == 1
    requests = families["slkv_replica_http_requests"].samples
    assert [(sample.labels, sample.value) for sample in requests] == [({"method": "GET", "status": "4xx"}, 1)]
    writes = {
        sample.labels.get("le"): sample.value for sample in families["slkv_replica_write_duration_seconds"].samples
    }
    assert (writes["0.0025"], writes["0.005"], writes["+Inf"]) == (0, 1, 1)


def test_what_peers_did_is_told_by_side_and_fault() -> None:
    families = {family.name: family for family in text_string_to_metric_families(exposed())}
    assert families["slkv_replica_peer_connections"].samples[0].value == 2
    failures = {
        (sample.labels["side"], sample.labels["fault"]): sample.value
        for sample in families["slkv_replica_peer_failures"].samples
    }
    assert (failures["answering", "secret"], failures["asking", "secret"]) == (1, 0)
    assert {fault for _, fault in failures} == {fault.value for fault in PeerFault}


@pytest.mark.parametrize("fault", PeerFault, ids=lambda fault: fault.value)
def test_every_fault_of_a_peer_is_documented(fault: PeerFault) -> None:
    assert f"| `{fault.value}` |" in REFERENCE.read_text()


def test_who_leads_is_told_by_a_replica_that_may_lead_and_by_no_other() -> None:
    families = {family.name: family for family in text_string_to_metric_families(exposed(WriteMode.LEADER))}
    roles = {sample.labels["role"]: sample.value for sample in families["slkv_replica_leader_role"].samples}
    assert roles == {"leader": 0, "candidate": 0, "follower": 1, "none": 0}
    assert families["slkv_replica_leader_term"].samples[0].value == -1
    assert "leader_role" not in exposed(WriteMode.LEADERLESS)


def test_a_read_only_replica_has_no_metrics_of_writing() -> None:
    assert "queued_writes" not in exposed(WriteMode.READ_ONLY)


METRICS = sorted(set(re.findall(r"^# TYPE (slkv_\w+)", exposed(WriteMode.LEADER), re.MULTILINE)))


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_documented(name: str) -> None:
    assert f"`{name}`" in REFERENCE.read_text()
