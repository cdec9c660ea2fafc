"""What the benchmarks make of what they measured: ratios, targets, and the reports of wrk."""

import json

import pytest

from tests.bench.errors import BenchError
from tests.bench.figures import Figure, Target, format_table, paired_ratio, unmet
from tests.bench.wrk import parse_report

REPORT = """Running 4s test @ http://127.0.0.1:18080/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.30ms    1.00ms  16.15ms   94.26%
    Req/Sec    53.14k    12.09k   83.24k    72.50%
  Latency Distribution
     50%  820.00us
     75%    1.61ms
     90%    2.02ms
     99%    1.05s
  211220 requests in 4.00s, 50.96MB read
Requests/sec:  52774.76
Transfer/sec:     12.73MB
"""


def figure(*, ours: float = 2.0, ratio: float | None = None, target: Target | None = None) -> Figure:
    return Figure(name="name", title="title", unit="ms", ours=ours, ratio=ratio, target=target)


def test_a_report_of_wrk_is_read_with_all_its_units() -> None:
    read = parse_report(REPORT)
    assert (read.requests, read.per_second) == (211220, 52774.76)
    assert (read.p50_ms, read.p99_ms) == pytest.approx((0.82, 1050.0))


@pytest.mark.parametrize(
    "line", ["  Non-2xx or 3xx responses: 7", "  Socket errors: connect 0, read 1, write 0, timeout 0"]
)
def test_a_report_with_errors_is_no_figure(line: str) -> None:
    with pytest.raises(BenchError, match="errors"):
        parse_report(f"{REPORT}{line}\n")


def test_a_report_that_lacks_something_is_no_figure() -> None:
    with pytest.raises(BenchError, match="can't read"):
        parse_report(REPORT.replace("99%", ""))


def test_a_ratio_is_the_median_of_pairs_so_that_one_disturbed_pair_does_not_move_it() -> None:
    assert paired_ratio([8.0, 1.0, 80.0], [10.0, 10.0, 100.0]) == 0.8


def test_a_bound_is_itself_good_enough() -> None:
    assert figure(ratio=0.7, target=Target("ratio", "at least", 0.7)).is_met is True
    assert figure(ratio=0.69, target=Target("ratio", "at least", 0.7)).is_met is False
    assert figure(ours=3.0, target=Target("value", "at most", 3.0)).is_met is True
    assert figure(ours=3.1, target=Target("value", "at most", 3.0)).is_met is False


def test_only_missed_targets_are_held_against_us() -> None:
    missed = figure(ours=4.0, target=Target("value", "at most", 3.0))
    assert unmet([figure(), missed, figure(target=Target("value", "at most", 3.0))]) == [missed]


def test_the_table_has_a_row_for_each_figure_and_says_what_was_missed() -> None:
    rows = format_table([figure(), figure(ours=1234.5, target=Target("value", "at most", 3.0))]).splitlines()
    assert rows[2] == "| title | 2 ms |  |  |  |  |"
    assert rows[3] == "| title | 1,234 ms |  |  | ≤ 3 | **missed** |"


def test_a_figure_is_one_line_of_json() -> None:
    line = figure(ratio=0.5, target=Target("ratio", "at least", 0.7)).to_json()
    assert "\n" not in line
    assert json.loads(line)["met"] is False
