"""What kopf calls: handlers that put a key into the work queue, and do nothing else.

They are `on.event` handlers, for which kopf writes nothing to the object: no finalizer, no annotation, no progress.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping

import kopf

from sharedlogkv_operator import names

Enqueue = Callable[[str], None]
Login = Callable[[], Awaitable[kopf.ConnectionInfo]]

RECONNECT_SECONDS = 600
SILENCE_SECONDS = 70
"""A watch is given up that brought nothing for so long: the API server sends a bookmark about every 60 s."""

REQUEST_SECONDS = 30
CONNECT_SECONDS = 10


class Newness:
    """Tells events that call for a reconcile from those that only echo what the operator wrote itself.

    What counts is the spec (its generation), the deletion, the finalizers and the annotations under our prefix, by
    which people ask for something. The status is ours: a reconcile for each write of it would feed itself. Whoever
    changes the status behind our back is set right by the next regular pass.
    """

    def __init__(self) -> None:
        self._seen: dict[str, object] = {}

    def is_new(self, key: str, event_type: str | None, metadata: Mapping[str, object]) -> bool:
        """Whether the event of the resource `key` calls for a reconcile; remembers it for the next time."""
        if event_type == "DELETED":
            self._seen.pop(key, None)
            return True
        fields = ("uid", "generation", "deletionTimestamp", "finalizers")
        mark = {field: metadata.get(field) for field in fields}
        annotations = metadata.get("annotations")
        given = annotations.items() if isinstance(annotations, Mapping) else ()
        mark["annotations"] = {key: value for key, value in given if key.startswith(f"{names.GROUP}/")}
        if self._seen.get(key) == mark:
            return False
        self._seen[key] = mark
        return True


def build_registry(enqueue: Enqueue, login: Login) -> kopf.OperatorRegistry:
    """The handlers, in a registry of their own.

    Args:
        enqueue: takes the key of a resource that something happened to; called in kopf's thread.
        login: says how to log in to Kubernetes; called in kopf's thread, again whenever that is refused.
    """
    registry = kopf.OperatorRegistry()
    newness = Newness()

    @kopf.on.login(registry=registry)
    async def log_in(**_: object) -> kopf.ConnectionInfo:
        return await login()

    @kopf.on.event(names.GROUP, names.VERSION, names.PLURAL, registry=registry)
    async def see_resource(*, event: kopf.RawEvent, meta: kopf.Meta, **_: object) -> None:
        key = f"{meta.namespace}/{meta.name}"
        if newness.is_new(key, event["type"], meta):
            enqueue(key)

    @kopf.on.event("apps", "v1", "deployments", labels={names.CLUSTER_LABEL: kopf.PRESENT}, registry=registry)
    async def see_deployment(*, meta: kopf.Meta, **_: object) -> None:
        enqueue(f"{meta.namespace}/{meta.labels[names.CLUSTER_LABEL]}")

    return registry


class EndlessBackoffs:
    """Seconds between the attempts to reach the API server: within seconds of its return we watch again.

    Never exhausted, since kopf ends the process then, and a restart cures no outage.
    """

    def __iter__(self) -> Iterator[float]:
        """Begins anew for each request."""
        yield from (1, 2, 3)
        while True:
            yield 5


def build_settings() -> kopf.OperatorSettings:
    """The settings of kopf: no traces on objects, and no request or stream that could hang for ever."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.posting.loggers = False
    settings.scanning.disabled = True  # the kinds and namespaces are known: no rights on CRDs and namespaces needed
    settings.watching.server_timeout = RECONNECT_SECONDS
    settings.watching.client_timeout = RECONNECT_SECONDS + 60
    settings.watching.connect_timeout = CONNECT_SECONDS
    settings.watching.inactivity_timeout = SILENCE_SECONDS
    settings.watching.label_selectors["apps", "v1", "deployments"] = names.CLUSTER_LABEL
    settings.networking.request_timeout = REQUEST_SECONDS
    settings.networking.connect_timeout = CONNECT_SECONDS
    settings.networking.error_backoffs = EndlessBackoffs()
    settings.execution.default_backoff = 2  # a log-in that failed is tried again soon
    # Nothing is stored under these names now; were a handler ever to need it, they must not be kopf's own.
    settings.persistence.finalizer = f"{names.GROUP}/kopf"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=names.GROUP)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=names.GROUP)
    return settings
