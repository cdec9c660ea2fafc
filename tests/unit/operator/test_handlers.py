"""What kopf is given: which events count, and settings that leave no trace on objects."""

import itertools

from sharedlogkv_operator.handlers import EndlessBackoffs, Newness, build_settings

META = {"uid": "u", "generation": 1}


def test_a_resource_is_new_when_first_seen_and_then_only_when_its_spec_changes() -> None:
    newness = Newness()
    assert newness.is_new("a/b", None, META)
    assert not newness.is_new("a/b", "MODIFIED", {**META, "resourceVersion": "2"})
    assert newness.is_new("a/b", "MODIFIED", {**META, "generation": 2})


def test_deletion_finalizers_and_another_object_of_the_name_count() -> None:
    newness = Newness()
    newness.is_new("a/b", None, META)
    assert newness.is_new("a/b", "MODIFIED", {**META, "finalizers": ["x"]})
    assert newness.is_new("a/b", "MODIFIED", {**META, "finalizers": ["x"], "deletionTimestamp": "t"})
    assert newness.is_new("a/b", "MODIFIED", {**META, "uid": "v"})


def test_annotations_by_which_people_ask_for_something_count_and_others_do_not() -> None:
    newness = Newness()
    newness.is_new("a/b", None, META)
    assert not newness.is_new("a/b", "MODIFIED", {**META, "annotations": {"kubectl.kubernetes.io/x": "y"}})
    assert newness.is_new("a/b", "MODIFIED", {**META, "annotations": {"sharedlog.dev/transfer-leader": "pod"}})
    assert newness.is_new("a/b", "MODIFIED", META)


def test_a_deleted_resource_counts_and_is_forgotten() -> None:
    newness = Newness()
    newness.is_new("a/b", None, META)
    assert newness.is_new("a/b", "DELETED", META)
    assert newness.is_new("a/b", "ADDED", META)


def test_kopf_neither_posts_events_nor_scans_the_cluster_nor_waits_for_ever() -> None:
    settings = build_settings()
    assert not settings.posting.enabled
    assert settings.scanning.disabled
    assert settings.watching.server_timeout
    assert settings.watching.client_timeout
    assert 60 < settings.watching.inactivity_timeout < 80
    assert settings.networking.request_timeout
    assert settings.execution.default_backoff < 10
    backoffs = settings.networking.error_backoffs
    assert isinstance(backoffs, EndlessBackoffs)
    assert len(list(itertools.islice(backoffs, 1000))) == 1000
    assert next(iter(backoffs)) == 1, "each request begins anew"
    assert "kopf.dev" not in settings.persistence.finalizer
    assert "zalando" not in settings.persistence.finalizer
