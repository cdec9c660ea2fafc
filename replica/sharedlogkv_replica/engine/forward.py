"""Forwarding: whatever replica a client asks, its write reaches the leader, and read indexes come back.

A write goes to whoever leads: this replica itself, or a peer over one link. While nobody leads, or the link is full, it
waits in a bounded queue. What becomes of it:

| what happens | what follows |
|---|---|
| the leader answers with a result, or with an error that is final | the client gets it |
| `NoLeader`: it does not lead (yet, or any more), and nothing was written | it waits, and is sent again |
| the connection is lost before it was sent | the same |
| lost after it was sent, or `OutcomeUnknown`; it has a request id | the same: the id has it carried out once |
| lost after it was sent, or `OutcomeUnknown`; it has none | the client gets `OutcomeUnknown` |
| the deadline comes | `OutcomeUnknown` if it may have been written, else `NoLeader` |

A write that finds this replica leading gets the lead's own promise. Where that would end with an error, it is taken
back, and the table holds for it as well. When another replica takes over, writes with a request id move on to it at
once; those without stay with the old leader's link, which ends once they are answered. After a `NoLeader` there is a
moment's rest before the same leader is asked again, and then by one write alone, the probe, until it takes that: it may
be waiting out the lease of the one before, and thousands of writes need not find that out one by one.

Invariants:
    1. A write is in `_open` from its arrival, or from when it was taken back, until its promise has ended.
    2. It is in `_waiting`, or with one carrier, never both: so it is never under way twice from here.
    3. Once it `may_be_written`, no error but `OutcomeUnknown` is told: an earlier attempt may have succeeded.
"""

import asyncio
import functools
from collections import OrderedDict
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from sharedlogkv_replica.core.leader_view import NOBODY, LeaderView, Role
from sharedlogkv_replica.core.leadership import Term
from sharedlogkv_replica.core.records import Offset
from sharedlogkv_replica.core.writes import Write, WriteResult
from sharedlogkv_replica.engine.deadlines import Deadlines
from sharedlogkv_replica.engine.leader_questions import ReadIndex, ask_index, ask_leads
from sharedlogkv_replica.engine.peer_link import PeerDialer, PeerLink, hang_up
from sharedlogkv_replica.engine.peer_session import Asker
from sharedlogkv_replica.engine.peer_wire import Answer, IndexQuestion, question_of, result_of, write_bound_bytes
from sharedlogkv_replica.engine.peers import ForwardCounters, ForwardLimits, PeerService
from sharedlogkv_replica.engine.promise import Promise, Turn
from sharedlogkv_replica.engine.waiters import fail
from sharedlogkv_replica.errors import LogUnavailable, NoLeader, OutcomeUnknown, RecordTooLarge, ReplicaError

LEADER_SHARE: Final = 0.9
"""Of the time that a write has: what the leader may take. So its answer, which knows whether the write was sent to the
log, is here before the forwarder gives up without knowing."""

_LEAST_TIMEOUT_SECONDS: Final = 0.001


@dataclass(slots=True, eq=False)
class _Pending:
    """One write, and the asker of its questions."""

    forwarder: "Forwarder"
    write: Write
    promise: Promise[WriteResult]
    deadline: float
    size_bytes: int
    attempts: int = 0
    carrier: "PeerLink | PeerService | None" = None
    number: int = 0
    may_be_written: bool = False

    def answered(self, answer: Answer) -> None:
        """The leader has answered."""
        self.forwarder.settle(self, result_of(answer))

    def lost(self, *, sent: bool) -> None:
        """The link's connection is gone."""
        error = OutcomeUnknown("the connection to the leader was lost while the write was on its way")
        self.forwarder.settle(self, error if sent else NoLeader("the connection to the leader was lost"))


_Target: TypeAlias = PeerService | PeerLink | None


class Forwarder:
    """Takes writes and read index questions, and brings them to whoever leads.

    Attributes:
        counters: for the metrics.
        indexes: the read index questions that went to a peer.
    """

    def __init__(self, local: PeerService, limits: ForwardLimits, *, dialer: PeerDialer | None) -> None:
        """Nobody leads yet.

        Args:
            local: this replica, for when it leads.
            limits: the bounds.
            dialer: makes the link to a leader that is another replica; None: there are no peers.
        """
        self._local = local
        self._limits = limits
        self._leader_seconds = LEADER_SHARE * limits.timeout_seconds  # of a write, as soon as it arrives
        self._dialer = dialer
        self._view = NOBODY
        self._target: _Target = None
        self._leaving: set[PeerLink] = set()
        self._open = Deadlines(self._expire)
        self._waiting: OrderedDict[_Pending, None] = OrderedDict()
        self._waiting_bytes = 0
        self._rest: asyncio.TimerHandle | None = None
        self._probing = False  # the target has said that it does not lead, and has taken nothing since
        self._probe: _Pending | None = None  # the one write that is with it then
        self._closed = False
        self._turn = Turn()
        self._loop: asyncio.AbstractEventLoop | None = None  # kept: to ask for the running one is a system call
        self.counters = ForwardCounters()
        self.indexes = ReadIndex(self._send_index_question)

    @property
    def waiting_writes(self) -> int:
        """Writes that wait for a leader, or for room on the way to it."""
        return len(self._waiting)

    @property
    def unanswered_writes(self) -> int:
        """Writes that are with another replica now, as the leader."""
        return len(self._open) - len(self._waiting)

    # --- who leads ---

    def lead_by(self, view: LeaderView) -> None:
        """Takes over who leads; what waits is sent there."""
        if view == self._view or self._closed:
            return
        self._view = view
        before, self._target = self._target, self._target_of(view)
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        self._probing, self._probe = False, None
        if isinstance(before, PeerLink) and before is not self._target:
            self._part_from(before)
            self.indexes.renew()
        self._send_waiting()

    def _target_of(self, view: LeaderView) -> _Target:
        """Where writes go; a link that is there already is kept."""
        if view.role is Role.LEADER:
            return self._local
        if not view.address or self._dialer is None or view.role is Role.CANDIDATE:
            return None
        if isinstance(self._target, PeerLink) and self._target.address == view.address:
            return self._target
        return self._dialer.dial(view.address, on_room=self._send_waiting)

    def _part_from(self, link: PeerLink) -> None:
        """Takes back the writes with a request id, and leaves the others to their answers."""
        for pending in [p for p in self._open if p.carrier is link and p.write.request is not None]:
            link.forget(pending.number)
            pending.may_be_written = True
            self._put_back(pending)
        link.leave()
        self._leaving = {link, *(leaving for leaving in self._leaving if leaving.unanswered)}

    # --- writes ---

    def write(self, write: Write) -> Promise[WriteResult]:
        """Brings `write` to the leader. Never raises; a caller that gives up may cancel the promise.

        The promise's errors:
            NoLeader: nothing was written: nobody led before the deadline, or too many writes wait for a leader already.
            LogUnavailable: nothing was written: the leader can't at the moment, or too many writes wait for it already.
            RecordTooLarge: nothing was written: the leader does not take that much.
            LogRefused: nothing was written.
            OutcomeUnknown: it may have been written, or may yet be.
        """
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        timeout_seconds = self._limits.timeout_seconds
        deadline = loop.time() + timeout_seconds
        self.counters.writes += 1
        ready = self._ready()
        if ready and self._target is self._local:
            return self._write_here(write, deadline)
        promise: Promise[WriteResult] = Promise(self._turn)
        pending = _Pending(self, write, promise, deadline, write_bound_bytes(write))
        if not ready:
            problem = self._admit(pending)
            if problem is not None:
                self.counters.refused += 1
                fail(promise, problem)
                return promise
        self._open.add(pending)
        if ready:
            self._send(pending, timeout_seconds=self._leader_seconds)
        else:
            self._wait(pending)
            if self._probing:  # it may be the only one that waits, and so the next probe
                self._send_waiting()
        return promise

    def _write_here(self, write: Write, deadline: float) -> Promise[WriteResult]:
        """Has this replica's lead take `write`, and passes its promise on."""
        promise = self._local.write(write, timeout_seconds=self._leader_seconds)
        if not promise.done():
            promise.recover(functools.partial(self._take_back, write, deadline))
        elif (refused := promise.exception()) is not None:
            promise = Promise(self._turn)
            self._take_back(write, deadline, promise, refused)
        return promise

    def _take_back(self, write: Write, deadline: float, promise: Promise[WriteResult], error: BaseException) -> None:
        """This replica's lead has ended a write with `error`, of which nobody has been told yet."""
        if promise.done():  # its caller gave up
            return
        pending = _Pending(self, write, promise, deadline, write_bound_bytes(write), attempts=1, carrier=self._local)
        self._open.add(pending)
        self.settle(pending, error)

    def _ready(self) -> bool:
        """Whether a write that arrives now may be sent at once."""
        target = self._target
        if target is None or self._probing or self._waiting:
            return False
        return not isinstance(target, PeerLink) or target.ready

    def _admit(self, pending: _Pending) -> ReplicaError | None:
        """Why `pending` may not even wait."""
        limits, waiting = self._limits, len(self._waiting)
        if self._closed:
            return NoLeader("the replica stops, and takes no write any more")
        if waiting < limits.waiting_writes and self._waiting_bytes + pending.size_bytes <= limits.waiting_bytes:
            return None
        if self._target is None:
            return NoLeader(f"nobody leads at the moment, and {waiting} writes wait for a leader already; retry later")
        return LogUnavailable(
            f"{waiting} writes ({self._waiting_bytes} bytes) wait for the leader already; retry later"
        )

    def _wait(self, pending: _Pending) -> None:
        self._waiting[pending] = None
        self._waiting_bytes += pending.size_bytes

    def _put_back(self, pending: _Pending) -> None:
        """Lets a write that was with a leader wait again, before those that came later."""
        pending.carrier = None
        self._wait(pending)
        self._waiting.move_to_end(pending, last=False)

    def _send_waiting(self) -> None:
        """Sends what waits, for as long as there is somebody who takes it."""
        target = self._target
        while self._waiting and target is self._target and target is not None:
            if self._rest is not None or self._probe is not None:
                return
            if isinstance(target, PeerLink) and not target.ready:
                return
            pending, _ = self._waiting.popitem(last=False)
            self._waiting_bytes -= pending.size_bytes
            if pending.promise.done():  # its caller gave up
                self._open.discard(pending)
            else:
                self._probe = pending if self._probing else None
                left_seconds = (pending.deadline - asyncio.get_running_loop().time()) * LEADER_SHARE
                self._send(pending, timeout_seconds=max(left_seconds, _LEAST_TIMEOUT_SECONDS))

    def _send(self, pending: _Pending, *, timeout_seconds: float) -> None:
        """Has the target take `pending`, within that time."""
        target = self._target
        assert target is not None
        pending.carrier = target
        self.counters.repeated += pending.attempts > 0
        pending.attempts += 1
        if not isinstance(target, PeerLink):
            answer = target.write(pending.write, timeout_seconds=timeout_seconds)
            answer.add_done_callback(functools.partial(self._settle_local, pending))
        elif pending.size_bytes > (most := target.largest_question_bytes):
            self.counters.refused += 1
            text = f"a write of about {pending.size_bytes} bytes exceeds the {most} of the leader"
            self._finish(pending, RecordTooLarge(text))
        else:
            self.counters.forwarded += 1
            pending.number = target.ask(question_of(pending.write, timeout_seconds=timeout_seconds), pending)

    def _settle_local(self, pending: _Pending, answer: Promise[WriteResult]) -> None:
        error = answer.exception()
        self.settle(pending, answer.result() if error is None else error)

    def settle(self, pending: _Pending, result: WriteResult | BaseException) -> None:
        """An attempt of `pending` has ended with `result`: the client gets it, or the write goes on (see above)."""
        carrier, pending.carrier = pending.carrier, None
        if carrier is self._target and not isinstance(result, NoLeader):
            self._probing = False
        if pending not in self._open:
            return
        if isinstance(result, OutcomeUnknown):
            pending.may_be_written = True
        again = isinstance(result, NoLeader) or (
            isinstance(result, OutcomeUnknown) and pending.write.request is not None
        )
        if not again or pending.promise.done() or self._closed:
            self._finish(pending, result)
            return
        self._end_probe(pending)
        self._put_back(pending)
        if carrier is self._target:
            self._take_rest()
        else:
            self._send_waiting()

    def _end_probe(self, pending: _Pending) -> None:
        """If `pending` was the probe: what waits goes on in the next turn, all of it or the next probe."""
        if pending is self._probe:
            self._probe = None
            asyncio.get_running_loop().call_soon(self._send_waiting)

    def _take_rest(self) -> None:
        self._probing = True
        if self._rest is None:
            self._rest = asyncio.get_running_loop().call_later(self._limits.rest_seconds, self._end_rest)

    def _end_rest(self) -> None:
        self._rest = None
        self._send_waiting()

    def _finish(self, pending: _Pending, result: WriteResult | BaseException) -> None:
        """Tells the client."""
        self._end_probe(pending)
        self._open.discard(pending)
        promise = pending.promise
        if promise.done():
            return
        if not isinstance(result, BaseException):
            promise.set_result(result)
            return
        if pending.may_be_written and isinstance(result, ReplicaError) and not isinstance(result, OutcomeUnknown):
            result = OutcomeUnknown(f"the write may have reached an earlier leader; a later attempt failed: {result}")
        if isinstance(result, OutcomeUnknown):
            self.counters.unknown += 1
        elif isinstance(result, NoLeader):
            self.counters.no_leader += 1
        else:
            self.counters.failed += 1
        promise.set_exception(result)

    def _expire(self, pending: _Pending) -> None:
        """The deadline of `pending` has come."""
        if pending in self._waiting:
            del self._waiting[pending]
            self._waiting_bytes -= pending.size_bytes
        self._finish(pending, self._expired(pending))

    def _expired(self, pending: _Pending) -> ReplicaError:
        seconds = self._limits.timeout_seconds
        if pending.carrier is not None or pending.may_be_written:
            return OutcomeUnknown(f"the leader did not answer within {seconds:g} s; the write may be in the log")
        return NoLeader(f"no leader took the write within {seconds:g} s; nothing was written")

    # --- questions ---

    def read_index(self, *, timeout_seconds: float) -> Coroutine[Any, Any, Offset | None]:
        """The offset up to which a read that begins now must have applied the log, to see all that is acknowledged.

        None where nobody leads under a valid lease, or the leader does not answer in time; a barrier tells as well.
        """
        if isinstance(self._target, PeerLink):
            return self.indexes.ask(timeout_seconds=timeout_seconds)
        return ask_index(self._target, timeout_seconds=timeout_seconds)

    def _send_index_question(self, asker: Asker) -> bool:
        link = self._target
        if not isinstance(link, PeerLink) or not link.ready:
            return False
        link.ask(IndexQuestion(), asker)
        return True

    def ask_leads(self, term: Term, *, timeout_seconds: float) -> Coroutine[Any, Any, bool | None]:
        """Whether the leader says that it leads `term` under a valid lease; None when it does not answer in time."""
        link = self._target if isinstance(self._target, PeerLink) else None
        return ask_leads(link, term, timeout_seconds=timeout_seconds)

    def close(self) -> Coroutine[Any, Any, None]:
        """Ends what is left, at once, as `OutcomeUnknown` or `NoLeader`; and all links, once it is awaited."""
        self._closed = True
        self._open.stop()
        if self._rest is not None:
            self._rest.cancel()
        for pending in list(self._open):
            sent = pending.carrier is not None or pending.may_be_written
            text = "the replica stopped while the write was on its way" if sent else "the replica stops"
            self._finish(pending, OutcomeUnknown(text) if sent else NoLeader(text))
        self._waiting.clear()
        links = {*self._leaving, *([self._target] if isinstance(self._target, PeerLink) else [])}
        self._target = None
        return hang_up(links)
