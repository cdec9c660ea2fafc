"""What every `KafkaAdmin` must do: the real one against Kafka, and the fake that stands in for it."""

from dataclasses import replace

import pytest

from sharedlogkv_operator.errors import KafkaRefused
from sharedlogkv_operator.kafka_admin import KafkaAdmin
from sharedlogkv_operator.topic import CreateTopic

SETTINGS = {"cleanup.policy": "compact", "min.insync.replicas": "1", "segment.ms": "60000"}


class KafkaAdminContract:
    """The tests; a subclass gives the fixtures `admin`, and `topic`, a name that nobody else uses."""

    @pytest.mark.asyncio
    async def test_what_is_not_there_is_none_and_may_be_deleted(self, admin: KafkaAdmin, topic: str) -> None:
        assert await admin.describe_topic(topic) is None
        await admin.delete_topic(topic)

    @pytest.mark.asyncio
    async def test_a_created_topic_is_as_asked_for(self, admin: KafkaAdmin, topic: str) -> None:
        assert await admin.create_topic(CreateTopic(topic, 1, SETTINGS))
        found = await admin.describe_topic(topic)
        assert found is not None
        assert found.id
        assert (found.partitions, found.replication_factor) == (1, 1)
        assert found.config.items() >= SETTINGS.items()
        assert found.config["message.timestamp.type"] == "CreateTime"

    @pytest.mark.asyncio
    async def test_creating_a_topic_that_exists_leaves_it_as_it_is_and_says_so(
        self, admin: KafkaAdmin, topic: str
    ) -> None:
        await admin.create_topic(CreateTopic(topic, 1, SETTINGS))
        before = await admin.describe_topic(topic)
        assert not await admin.create_topic(CreateTopic(topic, 1, {}))
        assert await admin.describe_topic(topic) == before

    @pytest.mark.asyncio
    async def test_settings_are_altered_and_no_others(self, admin: KafkaAdmin, topic: str) -> None:
        await admin.create_topic(CreateTopic(topic, 1, SETTINGS))
        before = await admin.describe_topic(topic)
        assert before is not None
        await admin.alter_topic(topic, {"segment.ms": "120000"})
        after = await admin.describe_topic(topic)
        assert after == replace(before, config={**before.config, "segment.ms": "120000"})

    @pytest.mark.asyncio
    async def test_a_topic_made_anew_has_another_id(self, admin: KafkaAdmin, topic: str) -> None:
        ids = set()
        for _ in range(2):
            await admin.create_topic(CreateTopic(topic, 1, SETTINGS))
            found = await admin.describe_topic(topic)
            assert found is not None
            ids.add(found.id)
            await admin.delete_topic(topic)
        assert len(ids) == 2

    @pytest.mark.asyncio
    async def test_what_kafka_refuses_is_refused_with_its_words(self, admin: KafkaAdmin, topic: str) -> None:
        with pytest.raises(KafkaRefused, match="INVALID_REPLICATION_FACTOR"):
            await admin.create_topic(CreateTopic(topic, 30, SETTINGS))
        with pytest.raises(KafkaRefused, match=r"INVALID_CONFIG.*cleanup\.polcy"):
            await admin.create_topic(CreateTopic(topic, 1, {"cleanup.polcy": "compact"}))
        assert await admin.describe_topic(topic) is None

    @pytest.mark.asyncio
    async def test_there_is_a_broker(self, admin: KafkaAdmin) -> None:
        assert await admin.count_brokers() >= 1
