"""What a scrape of `/metrics` gives: names and units for the plain numbers that the layers below count.

Nothing is counted here and no hot path knows Prometheus: the collector reads the counters when it is scraped.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from sharedlogkv_replica.core.leader_view import Role
from sharedlogkv_replica.core.modes import Reason
from sharedlogkv_replica.engine.cpu_limit import read_cpu_limit
from sharedlogkv_replica.engine.forward import Forwarder
from sharedlogkv_replica.engine.leader_mode import LeaderMode
from sharedlogkv_replica.engine.peers import PeerCounters
from sharedlogkv_replica.engine.replica import COMPILED, VERSION, Replica
from sharedlogkv_replica.errors import PeerFault
from sharedlogkv_replica.log.counters import LogCounters
from sharedlogkv_replica.server.counters import Histogram, HttpCounters

_PREFIX: Final = "slkv_replica_"


def _counter(
    name: str, text: str, samples: Iterable[tuple[Sequence[str], float]], labels: Sequence[str] = ()
) -> Metric:
    family = CounterMetricFamily(_PREFIX + name, text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _count(name: str, text: str, value: float) -> Metric:
    return _counter(name, text, [((), value)])


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(_PREFIX + name, text, value=value)


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    bounds = [*(str(bound) for bound in histogram.bounds), "+Inf"]
    buckets = list(zip(bounds, map(float, accumulate(histogram.counts)), strict=True))
    return HistogramMetricFamily(_PREFIX + name, text, buckets=buckets, sum_value=histogram.total)


class ReplicaCollector(Collector):
    """The replica's metrics, read off its parts at each scrape."""

    def __init__(self, replica: Replica, log: LogCounters, http: HttpCounters) -> None:
        self._replica = replica
        self._log = log
        self._http = http

    def collect(self) -> Iterator[Metric]:
        """Every metric, in the order of docs/reference.md."""
        yield from self._standing()
        yield from self._following()
        yield from self._writing()
        yield from self._reading_and_appending()
        yield from self._serving()

    def _standing(self) -> Iterator[Metric]:
        standing = self._replica.standing
        info = GaugeMetricFamily(
            _PREFIX + "info",
            "1, with the version, whether the data path is compiled (`true`, `false`), and the write mode.",
            labels=["version", "compiled", "write_mode"],
        )
        info.add_metric([VERSION, str(COMPILED).lower(), self._replica.write_mode.value], 1)
        yield info
        yield _gauge("ready", "1 while the replica answers data requests.", standing.ready)
        reasons = GaugeMetricFamily(
            _PREFIX + "standing", "1 for the reason of the replica's standing.", labels=["reason"]
        )
        for reason in Reason:
            reasons.add_metric([reason.value], reason is standing.reason)
        yield reasons

    def _following(self) -> Iterator[Metric]:
        follower = self._replica.follower
        now, now_ms = time.monotonic(), time.time_ns() // 1_000_000
        replay = follower.replay
        yield _gauge("keys", "Keys in the map.", len(follower.store))
        yield _gauge(
            "data_bytes", "Keys and values in the map, without the map's own overhead.", follower.store.data_bytes
        )
        yield _count("applied_records", "Records applied to the map.", follower.records)
        yield _count(
            "skipped_records", "Records without a user's key, barriers among them.", follower.store.skipped_records
        )
        yield _gauge("position", "The next offset to apply.", follower.position)
        yield _gauge("log_end", "The log's end as last seen: one above its last offset.", follower.lag.end)
        yield _gauge("lag_records", "Offsets between the map and the log's end.", follower.lag.lag_records)
        yield _gauge(
            "lag_seconds", "Upper bound of the age of the oldest record not yet applied.", follower.lag_seconds(now_ms)
        )
        yield _gauge("log_out_of_reach_seconds", "How long the log has not answered.", follower.out_of_reach_seconds)
        yield _count("lives", "Times that following began: 1, and one for each lost or refused log.", follower.lives)
        load = follower.load
        yield _count("apply_cpu_seconds", "CPU spent on records: fetched, decoded and applied.", load.apply_cpu_seconds)
        yield _count("applied_bytes", "Keys and values of the records applied, estimated.", load.applied_bytes)
        yield _count("fetch_wait_seconds", "Time in which no record was at hand.", load.fetch_wait_seconds)
        yield _count("serve_cpu_seconds", "CPU spent on all else, mostly requests.", load.serve_cpu_seconds)
        yield _gauge("cpu_limit", "CPUs that the replica can use.", read_cpu_limit())
        yield _gauge("shed_share", "The share of reads turned away now.", self._replica.guard.share)
        yield _gauge("replay_records", "Records applied by the last replay.", replay.records if replay else 0)
        yield _gauge("replay_seconds", "Duration of the last replay, so far.", replay.elapsed(now) if replay else 0)
        remaining = replay.remaining_seconds(now) if replay else None
        yield _gauge("replay_remaining_seconds", "Estimate until the replay is done; 0 when it is.", remaining or 0)

    def _writing(self) -> Iterator[Metric]:
        waiting = self._replica.follower.waiters
        yield _gauge("waiting_reads", "Reads that wait for the map now.", len(waiting))
        commit = self._replica.commit
        if commit is None:
            return
        counters = commit.counters
        yield _gauge("queued_writes", "Writes that wait for a batch now.", commit.queued_records)
        yield _count("committed_batches", "Batches acknowledged by the log.", counters.batches)
        yield _count("committed_records", "Records acknowledged by the log.", counters.records)
        yield _count("barriers", "Barriers asked for by linearizable reads, after sharing.", counters.barriers)
        failures = [
            (["refused"], counters.refused),
            (["unavailable"], counters.unavailable),
            (["unknown"], counters.unknown),
        ]
        yield _counter("failed_writes", "Writes that were not acknowledged, by outcome.", failures, ["outcome"])

    def _reading_and_appending(self) -> Iterator[Metric]:
        log = self._log
        yield _count("log_appends", "Calls to append a batch.", log.appends)
        yield _count("log_appended_bytes", "Encoded size of the acknowledged batches.", log.appended_bytes)
        failures = [
            (["unavailable"], log.append_unavailable),
            (["unknown"], log.append_unknown),
            (["refused"], log.append_refused),
            (["too_large"], log.append_too_large),
            (["fenced"], log.append_fenced),
        ]
        yield _counter("log_failed_appends", "Appends that were not acknowledged, by outcome.", failures, ["outcome"])
        yield _count("log_resends", "Times that a batch was sent again.", log.resends)
        yield _count("log_producer_ids", "Producer ids taken; more than one: a sequence was broken.", log.producer_ids)
        yield _count("log_abandoned_batches", "Batches whose outcome stayed unknown.", log.abandoned_batches)
        yield _count("log_fences", "Retired producer ids that can't write any more.", log.fences)
        yield _count("log_claims", "Attempts to claim the log for this replica alone.", log.claims)
        failed_claims = [
            (["unavailable"], log.claim_unavailable),
            (["unknown"], log.claim_unknown),
            (["refused"], log.claim_refused),
            (["fenced"], log.claim_fenced),
        ]
        yield _counter("log_failed_claims", "Of these, those that got nothing, by outcome.", failed_claims, ["outcome"])
        yield _count("log_fence_tests", "Times that the log was tested to refuse an earlier claim.", log.fence_tests)
        yield _count(
            "log_failed_fence_tests", "Of these, those after which it was not trusted.", log.fence_test_failures
        )
        yield _count("log_write_outages", "Times that the log could no longer be written.", log.write_outages)
        yield _count("log_read_batches", "Batches read.", log.read_batches)
        yield _count("log_read_records", "Records read.", log.read_records)
        yield _count(
            "log_undecodable_records", "Records stepped over, since they could not be read.", log.undecodable_records
        )
        yield _count("log_read_errors", "Errors of the reader's client that passed.", log.read_errors)
        yield _count("log_read_outages", "Times that the reader lost the log.", log.read_outages)
        yield _count("log_queries", "Questions for the log's end and id.", log.queries)
        yield _count("log_query_failures", "Of these, those without an answer.", log.query_failures)

    def _serving(self) -> Iterator[Metric]:
        http = self._http
        requests = [((method, status), float(count)) for method, status, count in http.requests()]
        yield _counter("http_requests", "Answered requests.", requests, ["method", "status"])
        yield _count("http_received_bytes", "Bytes from clients.", http.received_bytes)
        yield _count("http_sent_bytes", "Bytes to clients.", http.sent_bytes)
        yield _gauge("http_connections", "Open connections.", http.open_connections)
        yield _count(
            "http_accepted_connections", "Connections accepted, refused ones included.", http.accepted_connections
        )
        yield _count(
            "http_refused_connections", "Connections turned away: too many were open.", http.refused_connections
        )
        yield _count("http_slow_client_aborts", "Connections cut: the client took no byte.", http.slow_client_aborts)
        yield _gauge("http_held_body_bytes", "Request bodies in memory.", http.held_body_bytes)
        yield _count("shed_reads", "Reads turned away so that the map keeps up.", http.shed_reads)
        yield _count("read_waits", "Reads that could not be answered at once.", http.read_waits)
        yield _count("read_timeouts", "Of these, those whose deadline came first.", http.read_timeouts)
        yield _histogram("write_duration_seconds", "From a whole write to its answer.", http.write_seconds)
        yield _histogram("read_wait_duration_seconds", "From a read that waited to its answer.", http.read_wait_seconds)


class LeaderCollector(Collector):
    """The metrics of a replica's part in the write mode `Leader`."""

    def __init__(self, led: LeaderMode) -> None:
        self._led = led

    def collect(self) -> Iterator[Metric]:
        """Every metric, in the order of docs/replica.md."""
        yield from self._electing()
        yield from self._committing()
        yield from self._answering()

    def _electing(self) -> Iterator[Metric]:
        view, leadership = self._led.view, self._led.leadership
        roles = GaugeMetricFamily(_PREFIX + "leader_role", "1 for the replica's part in the election.", labels=["role"])
        for role in Role:
            roles.add_metric([role.value], role is view.role)
        yield roles
        term = -1 if view.term is None else view.term
        yield _gauge("leader_term", "The offset of the claim that leads; -1 while nobody does.", term)
        yield _gauge("leader_lease_holds", "1 while this replica leads and holds its lease.", leadership.lease_holds())
        yield _count("leader_changes", "Times that another term was seen.", leadership.changes)
        yield _count(
            "leader_resignations", "Times that this replica handed over.", self._led.lead.counters.resignations
        )
        yield _count(
            "foreign_records",
            "Records seen that no leader wrote; they are applied all the same.",
            leadership.authorship.foreign_records,
        )

    def _committing(self) -> Iterator[Metric]:
        lead = self._led.lead
        yield _gauge("leader_queued_writes", "Writes that wait for a leader's batch here.", lead.queued_records)
        yield _gauge("leader_open_batches", "Batches whose outcome is not known yet.", len(lead.outcomes))
        yield _gauge(
            "leader_append_age_seconds", "How long the append or claim under way has taken.", lead.busy_seconds
        )
        yield _count("leader_batches", "Batches acknowledged while leading, beats included.", lead.counters.batches)
        yield _count("leader_beats", "Of these, those without a write.", lead.counters.beats)
        yield _count("leader_records", "Writes acknowledged while leading.", lead.counters.records)
        yield _count(
            "leader_resolved_batches",
            "Batches whose outcome the log told before, or instead of, an acknowledgement.",
            lead.outcomes.counters.resolved_batches,
        )

    def _answering(self) -> Iterator[Metric]:
        counters = self._led.lead.outcomes.counters
        answers = [
            (["written"], counters.written),
            (["repeated"], counters.repeated),
            (["condition_failed"], counters.condition_failures),
            (["request_mismatch"], counters.mismatches),
            (["failed"], counters.failed),
            (["unknown"], counters.unknown),
            (["refused"], self._led.lead.intake.refused),
        ]
        yield _counter("leader_answers", "Answers to writes while leading, by outcome.", answers, ["outcome"])
        yield _gauge("remembered_requests", "Requests with an id that would not be repeated.", len(self._led.window))


class PeerCollector(Collector):
    """The metrics of what goes between replicas.

    Args:
        forwarder: brings writes and questions to the leader.
        asking: of the links to leaders.
        answering: of the peer port.
    """

    def __init__(self, forwarder: Forwarder, *, asking: PeerCounters, answering: PeerCounters) -> None:
        self._forwarder = forwarder
        self._asking = asking
        self._sides = {"asking": asking, "answering": answering}

    def collect(self) -> Iterator[Metric]:
        """Every metric, in the order of docs/replica.md."""
        yield from self._forwarding()
        yield from self._connections()

    def _forwarding(self) -> Iterator[Metric]:
        forwarder, counters = self._forwarder, self._forwarder.counters
        yield _count(
            "forwarded_writes", "Times that a write was sent to a leader on another replica.", counters.forwarded
        )
        yield _count(
            "forward_repeats", "Times that a write was sent again, to the same leader or the next.", counters.repeated
        )
        failures = [
            (["refused"], counters.refused),
            (["no_leader"], counters.no_leader),
            (["unknown"], counters.unknown),
            (["failed"], counters.failed),
        ]
        yield _counter(
            "forward_failures", "Writes that ended without a result of the leader, by outcome.", failures, ["outcome"]
        )
        yield _gauge(
            "forward_waiting_writes",
            "Writes that wait for a leader, or for room on the way to it.",
            forwarder.waiting_writes,
        )
        yield _gauge(
            "forward_unanswered_writes",
            "Writes that are with another replica now, as the leader.",
            forwarder.unanswered_writes,
        )
        indexes = forwarder.indexes
        yield _count(
            "read_index_questions", "Questions to the leader for a read index, after sharing.", indexes.questions
        )
        yield _count("read_index_failures", "Of these, those that brought none.", indexes.failures)

    def _connections(self) -> Iterator[Metric]:
        yield _gauge(
            "peer_link_connected",
            "1 while this replica is connected to a leader on another one.",
            self._asking.open_connections > 0,
        )
        yield _gauge(
            "peer_connections", "Replicas that are connected to this one.", self._sides["answering"].open_connections
        )
        yield self._by_side(
            "peer_handshakes", "Connections on which both ends proved the secret, by side.", lambda of: of.connections
        )
        failures = [
            ([side, fault.value], float(counters.failures[fault]))
            for side, counters in self._sides.items()
            for fault in PeerFault
        ]
        yield _counter(
            "peer_failures", "Connections that were not made, or cut, by side and fault.", failures, ["side", "fault"]
        )
        yield self._by_side("peer_questions", "Questions of peers, by side.", lambda of: of.questions)
        yield self._by_side("peer_sent_bytes", "Bytes to peers, by side.", lambda of: of.sent_bytes)
        yield self._by_side("peer_received_bytes", "Bytes from peers, by side.", lambda of: of.received_bytes)

    def _by_side(self, name: str, text: str, read: Callable[[PeerCounters], int]) -> Metric:
        return _counter(name, text, [([side], read(counters)) for side, counters in self._sides.items()], ["side"])


class Metrics:
    """The registry of one replica; `peers` where there are any."""

    def __init__(
        self, replica: Replica, log: LogCounters, http: HttpCounters, *, peers: PeerCollector | None = None
    ) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(ReplicaCollector(replica, log, http))
        if replica.led is not None:
            self._registry.register(LeaderCollector(replica.led))
        if peers is not None:
            self._registry.register(peers)
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format, version 0.0.4."""
        return generate_latest(self._registry)
