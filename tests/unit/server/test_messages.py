"""How responses become bytes, and what is counted of them."""

from email.utils import parsedate_to_datetime

import pytest

from sharedlogkv_replica.server.clock import CoarseClock
from sharedlogkv_replica.server.counters import Histogram, HttpCounters
from sharedlogkv_replica.server.http_messages import Request, Response, render_head
from sharedlogkv_replica.server.limits import Limits
from sharedlogkv_replica.server.problems import PROBLEMS, problem

DATE = b"Date: now\r\n"


def head(response: Response, *, keep_alive: bool = True, http_1_0: bool = False) -> list[bytes]:
    """The lines of a rendered head."""
    rendered = render_head(response, Request(b"GET", b"/", http_1_0=http_1_0), date_line=DATE, keep_alive=keep_alive)
    assert rendered.endswith(b"\r\n\r\n")
    return rendered[:-4].split(b"\r\n")


def test_a_head_has_status_date_headers_and_length() -> None:
    assert head(Response(200, b"A: b\r\n", b"12345")) == [
        b"HTTP/1.1 200 OK",
        b"Date: now",
        b"A: b",
        b"Content-Length: 5",
    ]


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_content_has_no_length(status: int) -> None:
    assert not any(line.startswith(b"Content-Length") for line in head(Response(status)))


def test_the_end_of_a_connection_is_told_and_for_http_1_0_its_going_on() -> None:
    assert b"Connection: close" in head(Response(200), keep_alive=False)
    assert b"Connection: close" in head(Response(200), keep_alive=False, http_1_0=True)
    assert b"Connection: keep-alive" in head(Response(200), http_1_0=True)
    assert not any(line.startswith(b"Connection") for line in head(Response(200)))


@pytest.mark.parametrize("slug", PROBLEMS)
def test_every_problem_has_an_error_status_and_503_always_says_when_to_retry(slug: str) -> None:
    response = problem(slug, "detail")
    assert 400 <= response.status < 600
    if response.status == 503:
        assert b"Retry-After: 1\r\n" in response.headers
    assert head(response)[0].startswith(b"HTTP/1.1 %d " % response.status)


def test_the_clock_tells_another_time_at_each_tick_and_the_date_of_its_second() -> None:
    clock = CoarseClock()
    for _ in range(100):
        before = clock.now
        clock.tick()
        assert clock.now > before
    name, _, value = clock.date_line.decode().partition(": ")
    assert name == "Date"
    assert parsedate_to_datetime(value.strip()).tzinfo is not None


def test_a_histogram_puts_each_observation_in_the_first_bucket_that_holds_it() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 2.5):
        histogram.observe(value)
    assert (histogram.counts, histogram.total) == ([2, 2, 1], 7.5)


def test_answers_are_counted_over_a_closed_set() -> None:
    counters = HttpCounters()
    counters.plain_reads = 3
    for method, status in [(b"GET", 200), (b"GET", 404), (b"PUT", 204), (b"BREW", 400), (b"", 408)]:
        counters.count_answer(method, status)
    assert list(counters.requests()) == [("GET", "2xx", 4), ("GET", "4xx", 1), ("PUT", "2xx", 1), ("other", "4xx", 2)]


def test_the_sweep_is_short_against_every_time_it_keeps() -> None:
    assert Limits().sweep_seconds == 0.5
    assert Limits(idle_timeout_seconds=0.4).sweep_seconds == 0.1
