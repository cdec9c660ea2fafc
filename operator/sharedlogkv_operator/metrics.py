"""The operator's metrics: one object, made once and handed down. docs/reference.md lists them."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from sharedlogkv_operator.autoscaler.decision import Rule
from sharedlogkv_operator.scaling import SCALING_CONDITIONS
from sharedlogkv_operator.status import Condition, Truth
from sharedlogkv_operator.workqueue import WorkQueue

CONDITION_TYPES = ("Ready", "TopicReady", "LeaderElected", "Reconciling", "Stalled", "Paused", *SCALING_CONDITIONS)
DURATION_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """All metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reconciles = Counter(
            "slkv_operator_reconcile",
            "Reconciles ended, by result.",
            ["result"],
            registry=self.registry,
        )
        self.reconcile_errors = Counter(
            "slkv_operator_reconcile_errors", "Reconciles that must be tried again.", registry=self.registry
        )
        self.reconcile_seconds = Histogram(
            "slkv_operator_reconcile_duration_seconds",
            "How long reconciles took.",
            buckets=DURATION_BUCKETS,
            registry=self.registry,
        )
        self.queue_depth = Gauge(
            "slkv_operator_workqueue_depth", "Resources that wait for a worker.", registry=self.registry
        )
        self.queue_adds = Counter(
            "slkv_operator_workqueue_adds",
            "Times that a resource began to wait for a worker.",
            registry=self.registry,
        )
        self.queue_retries = Counter(
            "slkv_operator_workqueue_retries",
            "Times that a resource was put off with a back-off.",
            registry=self.registry,
        )
        self.queue_oldest_seconds = Gauge(
            "slkv_operator_workqueue_oldest_seconds",
            "How long the resource that waits longest has waited for a worker.",
            registry=self.registry,
        )
        self.longest_running_seconds = Gauge(
            "slkv_operator_workqueue_longest_running_processor_seconds",
            "How long the longest reconcile under way has run.",
            registry=self.registry,
        )
        self.resources = Gauge(
            "slkv_operator_resources",
            "SharedLogKV resources by condition and its status.",
            ["condition", "status"],
            registry=self.registry,
        )
        self.leader = Gauge(
            "slkv_operator_leader", "1 for the operator that works, 0 for one that stands by.", registry=self.registry
        )
        self.kube_requests = Counter(
            "slkv_operator_kube_requests",
            "Requests to the API server, by method and HTTP status ('unreachable' for none).",
            ["method", "status"],
            registry=self.registry,
        )
        self.kafka_requests = Counter(
            "slkv_operator_kafka_requests", "Requests to Kafka clusters.", ["operation"], registry=self.registry
        )
        self.kafka_failures = Counter(
            "slkv_operator_kafka_request_failures",
            "Requests to Kafka clusters that failed or were refused.",
            ["operation"],
            registry=self.registry,
        )
        self.kafka_clients = Gauge(
            "slkv_operator_kafka_clients", "Kafka clusters with an open client.", registry=self.registry
        )
        self.scaling_looks = Counter(
            "slkv_operator_scaling_looks", "Looks at the replicas of a resource, to scale it.", registry=self.registry
        )
        self.scaling_failures = Counter(
            "slkv_operator_scaling_look_failures",
            "Looks that failed, and are taken again.",
            registry=self.registry,
        )
        self.scalings = Counter(
            "slkv_operator_scalings", "Changes of a count, by the rule.", ["rule"], registry=self.registry
        )
        for rule in Rule:
            self.scalings.labels(rule.value)
        for result in ("success", "requeue", "error"):
            self.reconciles.labels(result)
        for condition in CONDITION_TYPES:
            for truth in Truth:
                self.resources.labels(condition, truth.value)

    def count_kube_request(self, method: str, status: str) -> None:
        """Counts a request to the API server."""
        self.kube_requests.labels(method, status).inc()

    def show_queue(self, queue: WorkQueue) -> None:
        """Sets what the queue's standing is."""
        self.queue_depth.set(queue.depth)
        self.queue_oldest_seconds.set(queue.oldest_wait_seconds)
        self.longest_running_seconds.set(queue.longest_run_seconds)

    def show_resources(self, resources: Iterable[Iterable[Condition]]) -> None:
        """Sets how many resources have which conditions, from the conditions of each."""
        counts = {(type_, truth): 0 for type_ in CONDITION_TYPES for truth in Truth}
        for conditions in resources:
            for condition in conditions:
                counts[condition.type, condition.truth] += 1
        for (type_, truth), count in counts.items():
            self.resources.labels(type_, truth.value).set(count)

    def render(self) -> bytes:
        """All of them, in Prometheus's text format."""
        return generate_latest(self.registry)
