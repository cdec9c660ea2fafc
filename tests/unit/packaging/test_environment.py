"""How the system tests learn where they run."""

from pathlib import Path

import pytest

from tests.support.environment import EnvironmentIncomplete, has_own_cluster, parse_environment


def test_inside_a_testbed_its_kafka_and_its_cluster_are_used() -> None:
    environ = {
        "KUBECONFIG": "/k",
        "SLKV_KAFKA": "kafka:9092",
        "TESTBED": "/t",
        "TESTBED_NAME": "n",
        "TESTBED_RUN": "/r",
    }
    found = parse_environment(environ)
    assert (found.kubeconfig, found.kafka, found.testbed, found.kafka_logs) == (
        "/k",
        "kafka:9092",
        "/t",
        Path("/r/n/log"),
    )
    assert found.image == "localhost/sharedlogkv:dev"
    with pytest.raises(EnvironmentIncomplete, match="inside a testbed already"):
        has_own_cluster(environ)


def test_the_user_s_cluster_takes_precedence() -> None:
    environ = {"KUBECONFIG": "/k", "SLKV_KUBECONFIG": "/mine", "SLKV_KAFKA": "broker:9092", "IMAGE": "registry/image:1"}
    found = parse_environment(environ)
    assert (found.kubeconfig, found.kafka, found.testbed) == ("/mine", "broker:9092", None)
    assert found.image == "registry/image:1"
    assert has_own_cluster(environ)


def test_a_kubeconfig_alone_asks_for_a_testbed() -> None:
    assert not has_own_cluster({"KUBECONFIG": "/k"})


@pytest.mark.parametrize("environ", [{"SLKV_KAFKA": "broker:9092"}, {"SLKV_KUBECONFIG": "/k"}], ids=str)
def test_half_of_a_cluster_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(EnvironmentIncomplete, match="set both or none"):
        has_own_cluster(environ)


def test_what_is_missing_is_named_with_what_to_do() -> None:
    with pytest.raises(EnvironmentIncomplete, match=r"KUBECONFIG and SLKV_KAFKA not set.*make integration"):
        parse_environment({})
