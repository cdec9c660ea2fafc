"""Reads one partition from a position on: a thread with a librdkafka consumer, an async iterator for the event loop.

The thread polls, decodes a batch to plain tuples and hands it over with one `call_soon_threadsafe`; it waits when the
loop is more than a few batches behind. librdkafka fetches ahead in threads of its own, retries and reconnects for ever,
and follows the leader; what it reports on the way is counted, and logged once per outage.

The consumer is assigned its one partition outright. The client library insists on a group id, so it gets one, but it
never joins that group nor commits to it, and what brokers say about the group is of no interest.
"""

import asyncio
import collections
import concurrent.futures
import logging
import threading
from collections.abc import AsyncGenerator, Mapping
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from sharedlogkv_replica.core.records import START, Batch, Position
from sharedlogkv_replica.errors import LogTruncated, LogUnavailable
from sharedlogkv_replica.log.counters import LogCounters
from sharedlogkv_replica.log.kafka_decode import Decoded, decode
from sharedlogkv_replica.log.kafka_errors import OF_THE_GROUP
from sharedlogkv_replica.log.kafka_security import PLAINTEXT, Credentials, KafkaSecurity

logger = logging.getLogger(__name__)

PROPERTIES: Final = {
    "group.id": "sharedlogkv",  # demanded by the library; see above
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "isolation.level": "read_committed",
    "auto.offset.reset": "error",  # a lost position must be heard of, never jumped over
    "check.crcs": True,  # without it, damaged records are served, or stop the client without a word
    "enable.partition.eof": True,  # the only word on having passed markers and aborted records at the end
    "fetch.queue.backoff.ms": 5,  # its default of 1 s stalls a replay each time that the local queue was full
    "fetch.wait.max.ms": 50,  # delays no record, only the end of the partition
    "socket.timeout.ms": 6_000,  # a frozen broker is given up about when Kafka itself gives it up
    "reconnect.backoff.max.ms": 2_000,  # so that reading goes on soon after a long outage
    "statistics.interval.ms": 0,
}

POLL_SECONDS: Final = 0.5
BATCH_RECORDS: Final = 500
HANDED_OVER_BATCHES: Final = 4


class KafkaReader:
    """One reading of one partition; made anew for each.

    Args:
        properties: the client's, by librdkafka's names: at least `bootstrap.servers`.
        topic: the topic.
        partition: its partition.
        start: where to begin; `START` means the beginning, wherever that is.
        counters: where to count; touched from the event loop only.
        security: how to connect.
    """

    def __init__(
        self,
        properties: Mapping[str, object],
        topic: str,
        partition: int,
        *,
        start: Position,
        counters: LogCounters,
        security: KafkaSecurity = PLAINTEXT,
    ) -> None:
        self._properties = properties
        self._topic = topic
        self._partition = partition
        self._position = start
        self._counters = counters
        self._security = security
        self._loop = asyncio.get_running_loop()
        self._handed_over: collections.deque[Decoded] = collections.deque()
        self._arrived = asyncio.Event()
        self._room = threading.Semaphore(HANDED_OVER_BATCHES)
        self._stopping = threading.Event()
        self._ended: concurrent.futures.Future[BaseException | None] = concurrent.futures.Future()
        self._out_of_reach = False
        self._in_trouble = False  # of the thread: an error came, and no record since

    async def batches(self) -> AsyncGenerator[Batch, None]:
        """The batches, until `stop`.

        Raises:
            LogTruncated: the log does not have the next position.
            LogRefused: the topic is gone, or we lack the rights.
            LogUnavailable: the client, or its thread, failed; a new reading may do better.
        """
        thread = threading.Thread(target=self._run, name=f"read {self._topic}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # there are too many
            raise LogUnavailable(f"the log can't be read: {error}") from error
        ended = asyncio.wrap_future(self._ended)
        ended.add_done_callback(lambda _: self._arrived.set())
        try:
            while not self._stopping.is_set():
                while self._handed_over and not self._stopping.is_set():
                    decoded = self._handed_over.popleft()
                    self._room.release()
                    batch = self._take(decoded)
                    if batch is not None:
                        yield batch
                    if decoded.failure is not None:
                        raise decoded.failure
                if ended.done():
                    break
                self._arrived.clear()
                await self._arrived.wait()
            if not self._stopping.is_set():
                failure = ended.result()
                raise LogUnavailable(f"reading the log failed: {failure!r}") from failure
        finally:
            self.stop()
            await asyncio.wait({ended})

    def stop(self) -> None:
        """Ends the reading without an error, soon; from the event loop."""
        self._stopping.set()
        self._arrived.set()

    def reached(self) -> None:
        """Notes that a broker has answered somebody."""
        if self._out_of_reach:
            self._out_of_reach = False
            logger.info("the log is in reach again", extra={"topic": self._topic})

    def _take(self, decoded: Decoded) -> Batch | None:
        """Counts what was handed over. Returns the batch, or None when nothing has moved."""
        self.reached()
        counters, batch = self._counters, decoded.batch
        if decoded.undecodable is not None:
            counters.undecodable_records += 1
            extra = {"topic": self._topic, "record": decoded.undecodable}
            logger.error("a record can't be decoded and is left out", extra=extra)
        for text in decoded.errors:
            self._note_error(text, all_brokers_down=False)
        if batch.position == self._position and not batch.records:
            return None
        self._position = batch.position
        counters.read_batches += 1
        counters.read_records += len(batch.records)
        return batch

    def _note_error(self, text: str, *, all_brokers_down: bool) -> None:
        self._counters.read_errors += 1
        if all_brokers_down and not self._out_of_reach:
            self._out_of_reach = True
            self._counters.read_outages += 1
            logger.warning("the log is out of reach; reading waits", extra={"topic": self._topic, "detail": text})

    # --- in the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        failure: BaseException | None = None
        try:
            self._consume()
        except BaseException as error:  # it reaches the iterator, where somebody can act on it
            failure = error
            logger.warning("reading failed", extra={"topic": self._topic}, exc_info=error)
        self._ended.set_result(failure)

    def _consume(self) -> None:
        position = self._position
        while not self._stopping.is_set():
            position = self._consume_from(position, self._security.read())

    def _consume_from(self, position: Position, credentials: Credentials) -> Position:
        """Reads until it is stopped, or is in trouble and the credentials have changed; the position to go on from."""
        secured = self._security.client_properties(credentials)
        callbacks = {"error_cb": self._on_error}
        consumer = Consumer({**PROPERTIES, **self._properties, **secured, **callbacks}, logger=_Quiet())
        self._in_trouble = False
        try:
            self._seek(consumer, position)
            begins_later = False
            while not self._stopping.is_set():
                first = consumer.poll(POLL_SECONDS)
                if first is None:
                    if self._in_trouble and self._security.has_changed_since(credentials):
                        logger.info("the Kafka credentials have changed", extra={"topic": self._topic})
                        break
                    continue
                if first.error() is None:
                    self._in_trouble = False
                decoded = decode([first, *consumer.consume(BATCH_RECORDS - 1, 0)], position)
                if isinstance(decoded.failure, LogTruncated) and position == START and not begins_later:
                    # Asked for first, the beginning would cost every start half a second of the client's own waiting.
                    self._seek(consumer, OFFSET_BEGINNING)
                    begins_later = True
                    continue
                position = decoded.batch.position
                if decoded.undecodable is not None:
                    self._seek(consumer, position)
                self._hand_over(decoded)
        finally:
            try:
                consumer.close()
            except Exception as error:  # noqa: BLE001 # nothing more is asked of it, and it must not mask another error
                logger.warning("a reader did not close well", extra={"topic": self._topic, "detail": repr(error)})
        return position

    def _seek(self, consumer: Consumer, offset: int) -> None:
        consumer.assign([TopicPartition(self._topic, self._partition, offset)])

    def _hand_over(self, decoded: Decoded) -> None:
        while not self._room.acquire(timeout=POLL_SECONDS):
            if self._stopping.is_set():
                return
        self._loop.call_soon_threadsafe(self._on_handed_over, decoded)

    def _on_handed_over(self, decoded: Decoded) -> None:
        self._handed_over.append(decoded)
        self._arrived.set()

    def _on_error(self, error: KafkaError) -> None:
        if error.code() in OF_THE_GROUP:
            return
        self._in_trouble = True
        down = error.code() == KafkaError._ALL_BROKERS_DOWN
        self._loop.call_soon_threadsafe(lambda: self._note_error(error.str(), all_brokers_down=down))


class _Quiet:
    """Takes the place of a logger: the client's own lines, one per attempt to connect, are for debugging."""

    def log(self, _level: int, message: str, *arguments: object) -> None:
        logger.debug(message, *arguments)
