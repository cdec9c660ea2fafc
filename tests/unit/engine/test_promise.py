"""Promises: who is told, when, and in which order."""

import asyncio
from typing import Any

import pytest

from sharedlogkv_replica.engine.promise import Promise, Turn
from sharedlogkv_replica.errors import NoLeader

pytestmark = pytest.mark.asyncio


async def test_who_listens_is_told_in_the_next_turn_and_in_order_of_the_ends() -> None:
    turn, told = Turn(), list[int]()
    first, second = Promise[int](turn), Promise[int](turn)
    for promise in (first, second):
        promise.add_done_callback(lambda ended: told.append(ended.result()))
    second.set_result(2)
    first.set_result(1)
    assert told == []
    await asyncio.sleep(0)
    assert told == [2, 1]


async def test_who_listens_to_a_promise_that_has_ended_is_told_as_well() -> None:
    told = list[int]()
    promise = Promise[int](Turn())
    promise.set_result(1)
    promise.add_done_callback(lambda ended: told.append(ended.result()))
    assert told == []
    await asyncio.sleep(0)
    assert told == [1]


async def test_what_ends_while_others_are_told_is_told_in_the_same_turn() -> None:
    turn, told = Turn(), list[int]()
    first, second = Promise[int](turn), Promise[int](turn)
    first.add_done_callback(lambda ended: second.set_result(ended.result() + 1))
    second.add_done_callback(lambda ended: told.append(ended.result()))
    first.set_result(1)
    await asyncio.sleep(0)
    assert told == [2]


async def test_its_value_is_its_result_or_none() -> None:
    turn = Turn()
    promises = [Promise[int](turn) for _ in range(4)]
    ended, failed, given_up, _ = promises
    ended.set_result(1)
    failed.set_exception(ValueError())
    given_up.cancel()
    assert [promise.value for promise in promises] == [1, None, None, None]


async def test_a_bug_of_one_listener_costs_the_others_nothing() -> None:
    turn, told, reported = Turn(), list[int](), list[dict[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    broken, sound = Promise[int](turn), Promise[int](turn)
    broken.add_done_callback(lambda _: 1 // 0)
    sound.add_done_callback(lambda ended: told.append(ended.result()))
    broken.set_result(1)
    sound.set_result(2)
    await asyncio.sleep(0)
    assert told == [2]
    assert [type(context["exception"]) for context in reported] == [ZeroDivisionError]
    sound = Promise(turn)
    sound.add_done_callback(lambda ended: told.append(ended.result()))
    sound.set_result(3)
    await asyncio.sleep(0)
    assert told == [2, 3]


async def test_a_promise_is_awaited_like_a_future() -> None:
    turn = Turn()
    kept, broken = Promise[int](turn), Promise[int](turn)
    asyncio.get_running_loop().call_soon(kept.set_result, 1)
    asyncio.get_running_loop().call_soon(broken.set_exception, NoLeader("nobody leads"))
    assert await kept == 1
    assert await kept == 1
    with pytest.raises(NoLeader):
        await broken
    assert isinstance(broken.exception(), NoLeader)


async def test_who_is_cancelled_while_it_waits_gives_the_promise_up() -> None:
    promise = Promise[int](Turn())

    async def wait() -> int:
        return await promise

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert promise.cancelled()
    assert not promise.cancel()
    with pytest.raises(asyncio.CancelledError):
        promise.exception()


async def test_who_recovers_has_the_error_in_a_later_turn_and_ends_the_promise_in_its_own_time() -> None:
    turn, told, taken = Turn(), list[int](), list[BaseException]()
    promise = Promise[int](turn)
    promise.add_done_callback(lambda ended: told.append(ended.result()))
    promise.recover(lambda _, error: taken.append(error))
    promise.set_exception(NoLeader("nobody leads"))
    assert not promise.done()
    assert taken == []
    await asyncio.sleep(0)
    assert [type(error) for error in taken] == [NoLeader]
    promise.set_result(1)
    await asyncio.sleep(0)
    assert told == [1]


async def test_one_recovers_once_and_neither_from_success_nor_where_the_promise_is_given_up() -> None:
    turn, taken = Turn(), list[BaseException]()
    first, kept, given_up = Promise[int](turn), Promise[int](turn), Promise[int](turn)
    for promise in (first, kept, given_up):
        promise.recover(lambda _, error: taken.append(error))
    first.set_exception(NoLeader("nobody leads"))
    kept.set_result(1)
    given_up.cancel()
    await asyncio.sleep(0)
    assert len(taken) == 1
    first.set_exception(NoLeader("nobody leads"))
    assert first.done()
    assert kept.done()
    assert given_up.cancelled()
