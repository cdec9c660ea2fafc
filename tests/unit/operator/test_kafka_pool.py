"""Sharing clients of Kafka clusters."""

import asyncio

import pytest

from sharedlogkv_operator.errors import KafkaBusy, KafkaRefused, KafkaSilent, KafkaUnavailable
from sharedlogkv_operator.kafka_pool import KafkaPool
from sharedlogkv_operator.kafka_security import Login
from tests.support.operator_fakes import FakeKafka
from tests.support.virtual_time import run as run_virtual

ALICE = Login(user="alice")
BOB = Login(user="bob")


class ClosableKafka(FakeKafka):
    """A fake cluster that knows whether it was closed."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.is_closed = False

    async def close(self) -> None:
        self.is_closed = True


class Opener:
    """Opens fake clusters and remembers them."""

    def __init__(self) -> None:
        self.opened: list[ClosableKafka] = []

    def __call__(self, servers: str, login: Login) -> ClosableKafka:
        del login
        self.opened.append(ClosableKafka(servers))
        return self.opened[-1]


def test_one_client_is_shared_per_cluster() -> None:
    async def scenario() -> None:
        opener = Opener()
        pool = KafkaPool(opener, leases_limit=4)
        async with pool.lease("a:1") as first, pool.lease("a:1") as second, pool.lease("b:1") as other:
            assert first is second
            assert first is not other
        assert [kafka.name for kafka in opener.opened] == ["a:1", "b:1"]
        await pool.close()
        assert all(kafka.is_closed for kafka in opener.opened)

    run_virtual(scenario())


def test_a_client_is_closed_when_nobody_used_it_for_a_while_and_not_before() -> None:
    async def scenario() -> None:
        opener = Opener()
        pool = KafkaPool(opener, leases_limit=4, idle_seconds=100)
        for _ in range(3):
            async with pool.lease("a:1"):
                await asyncio.sleep(1000)
            await asyncio.sleep(99)
        (kafka,) = opener.opened
        states = [kafka.is_closed]
        await asyncio.sleep(2)
        states.append(kafka.is_closed)
        assert states == [False, True]
        async with pool.lease("a:1"):
            assert len(opener.opened) == 2
        await pool.close()

    run_virtual(scenario())


def test_of_many_logins_only_so_many_clients_stay_open_and_those_in_use_always_do() -> None:
    async def use(pool: KafkaPool, login: Login) -> None:
        async with pool.lease("a:1", login):
            pass

    async def scenario() -> None:
        opener = Opener()
        pool = KafkaPool(opener, leases_limit=4, clients_limit=2)
        logins = [Login(user=f"user-{number}") for number in range(10)]
        async with pool.lease("a:1", ALICE) as alices:
            for login in logins:
                await use(pool, login)
            await asyncio.sleep(0)
            still_open = [kafka for kafka in opener.opened if not kafka.is_closed]
            assert still_open == [alices, *opener.opened[-2:]]
            await use(pool, logins[-2])  # so the other one is now the least recently used
            await use(pool, BOB)
            await asyncio.sleep(0)
            assert [kafka.is_closed for kafka in opener.opened[-3:]] == [False, True, False]
        await pool.close()
        assert all(kafka.is_closed for kafka in opener.opened)

    run_virtual(scenario())


def test_a_cluster_whose_idle_clients_are_closed_is_still_known_to_those_who_are_busy_with_it() -> None:
    async def scenario() -> None:
        pool = KafkaPool(Opener(), leases_limit=1, clients_limit=0)
        async with pool.lease("a:1", ALICE):
            with pytest.raises(KafkaBusy):
                async with pool.lease("a:1", BOB):
                    pass
        async with pool.lease("a:1", BOB):
            with pytest.raises(KafkaBusy):
                async with pool.lease("a:1", ALICE):
                    pass
        await pool.close()

    run_virtual(scenario())


def test_a_cluster_that_holds_its_users_up_turns_further_ones_away_and_no_other_cluster_does() -> None:
    async def scenario() -> None:
        pool = KafkaPool(Opener(), leases_limit=2)
        async with pool.lease("dead:1"), pool.lease("dead:1"):
            with pytest.raises(KafkaBusy, match="2 resources are busy with dead:1"):
                async with pool.lease("dead:1"):
                    pass
            async with pool.lease("alive:1"):
                pass
        async with pool.lease("dead:1"):
            pass
        await pool.close()

    run_virtual(scenario())


def test_a_cluster_that_was_silent_is_probed_by_one_at_a_time_until_it_answers() -> None:
    async def scenario() -> None:
        pool = KafkaPool(Opener(), leases_limit=4)
        with pytest.raises(KafkaSilent):
            async with pool.lease("dead:1"):
                raise KafkaSilent("no answer from dead:1")
        await asyncio.sleep(3.1)
        async with pool.lease("dead:1"):
            with pytest.raises(KafkaSilent, match="no answer from dead:1"):
                async with pool.lease("dead:1"):
                    raise AssertionError("two asked at once")
        async with pool.lease("dead:1"), pool.lease("dead:1"):
            pass
        await pool.close()

    run_virtual(scenario())


@pytest.mark.parametrize("answer", [KafkaRefused("not authorized"), KafkaUnavailable("a topic has no leader")])
def test_a_cluster_that_was_silent_and_then_says_no_or_has_trouble_has_answered(answer: Exception) -> None:
    async def scenario() -> None:
        pool = KafkaPool(Opener(), leases_limit=4)
        with pytest.raises(KafkaSilent):
            async with pool.lease("a:1"):
                raise KafkaSilent("no answer from a:1")
        await asyncio.sleep(3.1)
        with pytest.raises(type(answer)):
            async with pool.lease("a:1"):
                raise answer
        async with pool.lease("a:1"), pool.lease("a:1"):
            pass
        await pool.close()

    run_virtual(scenario())


def test_trouble_with_one_topic_keeps_nobody_from_the_others() -> None:
    async def scenario() -> None:
        pool = KafkaPool(Opener(), leases_limit=4)
        async with pool.lease("a:1"):
            with pytest.raises(KafkaUnavailable, match="UNKNOWN"):
                async with pool.lease("a:1"):
                    raise KafkaUnavailable("a:1 says UNKNOWN")
            async with pool.lease("a:1"):
                pass
        await pool.close()

    run_virtual(scenario())


def test_a_cluster_that_has_not_answered_is_not_asked_again_for_a_moment_and_all_get_the_same_answer() -> None:
    async def scenario() -> None:
        pool = KafkaPool(Opener(), leases_limit=1)
        with pytest.raises(KafkaSilent):
            async with pool.lease("dead:1"):
                raise KafkaSilent("no answer from dead:1")
        for _ in range(2):
            with pytest.raises(KafkaSilent, match="no answer from dead:1"):
                async with pool.lease("dead:1"):
                    raise AssertionError("it was asked again")
        async with pool.lease("alive:1"):
            pass
        await asyncio.sleep(3.1)
        async with pool.lease("dead:1"):
            pass
        await pool.close()

    run_virtual(scenario())


def test_all_logins_of_a_cluster_together_hold_so_many_workers_and_no_more() -> None:
    async def scenario() -> None:
        opener = Opener()
        pool = KafkaPool(opener, leases_limit=2)
        async with pool.lease("dead:1", ALICE) as alices, pool.lease("dead:1", BOB) as bobs:
            assert alices is not bobs
            for login in (ALICE, BOB, Login(user="carol")):
                with pytest.raises(KafkaBusy, match="2 resources are busy with dead:1"):
                    async with pool.lease("dead:1", login):
                        pass
        async with pool.lease("dead:1", Login(user="carol")):
            pass
        assert len(opener.opened) == 3, "a login that is turned away opens no client"
        await pool.close()

    run_virtual(scenario())


def test_a_cluster_that_falls_silent_is_silent_for_all_logins_until_one_is_answered() -> None:
    async def scenario() -> None:
        pool = KafkaPool(Opener(), leases_limit=4)
        async with pool.lease("dead:1", ALICE):
            pass
        with pytest.raises(KafkaSilent):
            async with pool.lease("dead:1", ALICE):
                raise KafkaSilent("no answer from dead:1")
        with pytest.raises(KafkaSilent, match="no answer from dead:1"):
            async with pool.lease("dead:1", BOB):
                raise AssertionError("it was asked again")
        await asyncio.sleep(3.1)
        async with pool.lease("dead:1", BOB):
            with pytest.raises(KafkaSilent, match="no answer from dead:1"):
                async with pool.lease("dead:1", ALICE):
                    raise AssertionError("two asked at once")
        async with pool.lease("dead:1", ALICE), pool.lease("dead:1", BOB):
            pass
        await pool.close()

    run_virtual(scenario())


def test_the_silence_that_meets_a_login_which_was_never_answered_is_its_own() -> None:
    async def scenario() -> None:
        pool = KafkaPool(Opener(), leases_limit=4)
        with pytest.raises(KafkaSilent):
            async with pool.lease("a:1", ALICE):
                raise KafkaSilent("no answer from a:1")
        with pytest.raises(KafkaSilent, match="no answer from a:1"):
            async with pool.lease("a:1", ALICE):
                raise AssertionError("it was asked again")
        async with pool.lease("a:1", BOB), pool.lease("a:1", BOB):
            pass
        await pool.close()

    run_virtual(scenario())


def test_a_cluster_is_forgotten_when_its_last_client_is_closed() -> None:
    async def scenario() -> None:
        opener = Opener()
        pool = KafkaPool(opener, leases_limit=1, idle_seconds=100)
        async with pool.lease("a:1", ALICE):
            pass
        await asyncio.sleep(60)
        with pytest.raises(KafkaSilent):
            async with pool.lease("a:1", BOB):
                raise KafkaSilent("no answer from a:1")
        await asyncio.sleep(101)
        assert all(kafka.is_closed for kafka in opener.opened)
        async with pool.lease("a:1", BOB):
            pass
        assert len(opener.opened) == 3
        await pool.close()

    run_virtual(scenario())
