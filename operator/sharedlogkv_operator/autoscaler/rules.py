"""The rules, in order: the first that matches decides. Each has a test, and a section in docs/autoscaling.md.

| rule | holds when | then |
|---|---|---|
| OutOfBounds | there are fewer than the minimum, or more than the maximum | go to the bound |
| MetricsUnavailable | over a third of the ready replicas can't be asked, or observation has just begun | hold |
| Booting | replicas are on their way, and there will be enough for the reads | hold |
| ApplyStalled | most replicas apply nothing while the log grows, without using CPU | hold |
| FetchBound | replicas fall behind while their CPU is idle | hold |
| WriteBound | the log grows faster than one replica applies it | hold; while replicas are behind, spread reads |
| Straggler | one replica is behind and the others are not | replace it |
| Ineffective | a scale-up took nothing off the replicas that were there | undo it, and try no other for a while |
| ReadSteal | reads need more replicas | add them |
| CatchUp | replicas are behind, and fewer reads would let them catch up in time | add replicas |
| Down | fewer were enough for a while, and no replica is behind | take one away |
| Steady | none of these | hold |

Invariants:
1. The count stays within the bounds, but for one replica above the maximum while a straggler is replaced.
2. A count falls by more than one only to the maximum, or where a scale-up is undone.
3. Without fresh samples of two thirds of the ready replicas nothing but a bound changes the count.
4. A scale-up is followed by no other until the replicas it asked for serve, unless the reads need more than these.
5. Nothing falls before a whole stabilisation window was observed: an operator that was restarted takes its time.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from sharedlogkv_operator.autoscaler import stragglers, trials
from sharedlogkv_operator.autoscaler.decision import Decision, Limit, Rule
from sharedlogkv_operator.autoscaler.history import WINDOW_LOOKS
from sharedlogkv_operator.autoscaler.model import typical
from sharedlogkv_operator.autoscaler.observation import Observation
from sharedlogkv_operator.autoscaler.policy import Policy
from sharedlogkv_operator.autoscaler.scene import DOUBT_SECONDS, Scene, look
from sharedlogkv_operator.autoscaler.state import State
from sharedlogkv_operator.autoscaler.verdict import Verdict, hold
from sharedlogkv_operator.autoscaler.victims import choose_victims

STALE_SHARE: Final = 1 / 3
FIRST_SECONDS: Final = 15.0
"""The first look-arounds are noisy: so long only observation."""
IDLE_CPU_SHARE: Final = 0.01
BUSY_SHARE: Final = 0.6
"""A replica below it is held up by something else than its CPU."""
GROWING_LAG: Final = 0.1
"""Seconds a second from which on lag counts as growing; it grows by 1 when nothing is applied."""
WRITE_BOUND_SHARE: Final = 0.9
LEAST_HEADROOM: Final = 0.05
"""The share of a replica's CPU that records must leave to reads for more replicas to make sense."""
SMALL_EXCESS: Final = 0.25
"""Reads that need no more than this above what there is may be noise, and do little harm: they must last a while."""
YOUNG_SECONDS: Final = 60.0
"""So long after observation began the same holds for all that reads need: averages over little are noisy."""
LEAST_GAIN: Final = 0.02
"""A further replica must speed up the catching up by so much."""


def decide(observation: Observation, policy: Policy, state: State, *, now: float) -> Decision:
    """What to do after one more look at the replicas.

    Args:
        observation: what is seen.
        policy: what the user wants.
        state: what the last decision said to remember.
        now: seconds since the epoch.
    """
    scene = look(observation, policy, state, now=now)
    scene = replace(scene, state=trials.follow(scene))
    scene = replace(scene, state=stragglers.follow(scene))
    verdict = next(filter(None, (rule(scene) for rule in RULES)), None) or _steady(scene)
    after = verdict.state or scene.state
    if verdict.desired != scene.replicas:
        after = replace(after, scaled_at=now)
    victims = verdict.victims or (choose_victims(scene) if verdict.desired < scene.replicas else ())
    return Decision(verdict.desired, verdict.rule, verdict.message, verdict.limit, victims, after)


def _out_of_bounds(scene: Scene) -> Verdict | None:
    policy = scene.policy
    most = policy.max_replicas + (scene.state.replacement is not None)
    if policy.min_replicas <= scene.replicas <= most:
        return None
    bounds = f"minReplicas {policy.min_replicas} and maxReplicas {policy.max_replicas}"
    message = f"{_count(scene.replicas)} is outside of {bounds}"
    return Verdict(Rule.OUT_OF_BOUNDS, policy.clamp(scene.replicas), message)


def _metrics_unavailable(scene: Scene) -> Verdict | None:
    ready = scene.observation.ready
    stale = [pod.name for pod in ready if pod.sample is None]
    if stale and len(stale) > STALE_SHARE * len(ready):
        message = f"{len(stale)} of {len(ready)} serving replicas can't be asked: {', '.join(stale[:3])}"
        return hold(scene, Rule.METRICS_UNAVAILABLE, message)
    if ready and (not scene.loads or scene.now - scene.state.observed_since < FIRST_SECONDS):
        return hold(scene, Rule.METRICS_UNAVAILABLE, "replicas are observed for a while before anything is decided")
    return None


def _booting(scene: Scene) -> Verdict | None:
    if not scene.observation.ready or (scene.is_booting and not scene.reads_need_more):
        served = len(scene.observation.ready)
        return hold(scene, Rule.BOOTING, f"{served} of {_count(scene.replicas)} serve; the others are awaited")
    return None


def _apply_stalled(scene: Scene) -> Verdict | None:
    stalled = [
        name
        for name, load in scene.loads.items()
        if load.is_behind_moving_end
        and not load.is_applying
        and load.apply_cpu < IDLE_CPU_SHARE * load.cpu_limit
        and len(scene.state.history[name]) > WINDOW_LOOKS
    ]
    if 2 * len(stalled) <= len(scene.loads):
        return None
    message = (
        f"{len(stalled)} of {len(scene.loads)} replicas apply nothing while the log grows, and use no CPU: look at the "
        "brokers, and at the replicas' logs; more replicas can't help"
    )
    return hold(scene, Rule.APPLY_STALLED, message)


def _fetch_bound(scene: Scene) -> Verdict | None:
    waiting = [
        load
        for load in scene.loads.values()
        if load.lag_seconds > scene.policy.target_lag_seconds
        and load.lag_slope >= GROWING_LAG
        and load.utilization < BUSY_SHARE
    ]
    if 2 * len(waiting) <= len(scene.loads):
        return None
    utilization = typical(load.utilization for load in waiting)
    message = (
        f"lag is {scene.lag_seconds:.1f} s and grows while replicas use {utilization:.0%} of their CPU: they wait for "
        "the brokers or the network; more replicas would only ask them for more"
    )
    return hold(scene, Rule.FETCH_BOUND, message)


def _write_bound(scene: Scene) -> Verdict | None:
    estimates, policy = scene.estimates, scene.policy
    ceiling, rate, cost = estimates.apply_ceiling, estimates.append_rate, estimates.record_cost
    if ceiling is None or rate is None or cost is None:
        return None
    limit = f"{estimates.cpu_limit:.2g} CPU"
    if rate >= WRITE_BOUND_SHARE * ceiling:
        if (spread := _spread_reads(scene)) is not None:
            return spread
        relation = "exceeds" if rate > ceiling else "is close to"
        need = rate * cost / policy.read_utilization
        message = (
            f"append rate {rate:,.0f}/s {relation} what one replica applies, {ceiling:,.0f}/s at {limit}: "
            f"more replicas can't help; {need:.1f} CPU for each would"
        )
        if need > 1:
            message += ", were one process to use more than one: write less, or in larger batches, or to several stores"
        return hold(scene, Rule.WRITE_BOUND, message)
    if estimates.headroom(policy.read_utilization) < LEAST_HEADROOM * estimates.cpu_limit:
        message = (
            f"append rate {rate:,.0f}/s takes {rate * cost / estimates.cpu_limit:.0%} of every replica's {limit} and "
            f"leaves nothing of {policy.read_utilization:.0%} to reads: more replicas can't help, faster ones would"
        )
        return hold(scene, Rule.WRITE_BOUND, message)
    return None


def _spread_reads(scene: Scene) -> Verdict | None:
    """No count keeps up with the writes; but fewer reads on each let them fall behind more slowly, and catch up sooner.

    A surge that is short orders none: its rate must have become the usual one.
    """
    estimates, policy = scene.estimates, scene.policy
    ceiling, usual = estimates.apply_ceiling, estimates.usual_append_rate
    if ceiling is None or usual is None or usual < WRITE_BOUND_SHARE * ceiling:
        return None
    if scene.is_booting or not scene.is_lagging or estimates.request_cost is None:
        return None
    count = scene.replicas
    while count < policy.max_replicas and estimates.apply_rate(count + 1) >= (1 + LEAST_GAIN) * estimates.apply_rate(
        count
    ):
        count += 1
    if count == scene.replicas:
        return None
    message = (
        f"lag is {scene.lag_seconds:.1f} s, and more than one replica applies is written, {ceiling:,.0f}/s at most: "
        f"{_count(count)} apply {estimates.apply_rate(count):,.0f}/s each instead of "
        f"{estimates.apply_rate(scene.replicas):,.0f}/s, for fewer reads"
    )
    return _up(scene, Rule.CATCH_UP, count, message)


def _read_steal(scene: Scene) -> Verdict | None:
    if not scene.reads_need_more:
        return None
    observed_seconds = scene.now - scene.state.observed_since
    is_small = scene.read_replicas <= scene.replicas * (1 + SMALL_EXCESS)
    is_doubtful = is_small or observed_seconds < YOUNG_SECONDS
    window_seconds = max(scene.policy.scale_up_window_seconds, DOUBT_SECONDS if is_doubtful else 0.0)
    since = scene.now - window_seconds
    need = min(wish.need for wish in scene.state.wishes if wish.at >= since)
    if need <= scene.replicas:
        return None
    estimates = scene.estimates
    message = (
        f"requests take {estimates.read_cpu:.2f} CPU and records {estimates.write_cpu:.2f} CPU of each replica's "
        f"{estimates.cpu_limit:.2g}: {_count(need)} keep that below {scene.policy.read_utilization:.0%}"
    )
    return _up(scene, Rule.READ_STEAL, need, message)


def _catch_up(scene: Scene) -> Verdict | None:
    if not scene.is_lagging:
        return None
    backlog = typical(load.lag_records for load in scene.loads.values())
    wanted = _catch_up_count(scene, backlog)
    rate = scene.estimates.drain_rate(wanted)
    when = f"in about {backlog / rate:,.0f} s" if rate > 0 else "not before fewer records or requests come"
    message = f"lag is {scene.lag_seconds:.1f} s, {backlog:,.0f} records: {_count(wanted)} are up to date {when}"
    if wanted <= scene.replicas or scene.is_booting:
        return hold(scene, Rule.CATCH_UP, message)
    return _up(scene, Rule.CATCH_UP, wanted, message)


def _catch_up_count(scene: Scene, backlog: float) -> int:
    """The least count that catches up in time; fewer, where one more gains next to nothing."""
    count, most = scene.replicas, scene.policy.max_replicas
    while count < most:
        rate, next_rate = (scene.estimates.drain_rate(replicas) for replicas in (count, count + 1))
        if rate > 0 and (backlog <= rate * scene.policy.catch_up_seconds or next_rate < rate * (1 + LEAST_GAIN)):
            break
        if next_rate <= rate:  # reads take nothing, or more than any count could give: there is nothing to gain
            break
        count += 1
    # Without a rate above 0 at the end there is no catching up, whatever the count.
    return count if scene.estimates.drain_rate(count) > 0 else scene.replicas


def _down(scene: Scene) -> Verdict | None:
    policy, state = scene.policy, scene.state
    keep = max(wish.keep for wish in state.wishes if wish.at >= scene.now - policy.scale_down_window_seconds)
    is_observed = scene.now - state.observed_since >= policy.scale_down_window_seconds
    if keep >= scene.replicas or not is_observed or scene.now - state.scaled_at < policy.scale_down_period_seconds:
        return None
    if max(load.lag_seconds for load in scene.loads.values()) > policy.target_lag_seconds:
        return None
    message = f"{_count(keep)} were enough for {policy.scale_down_window_seconds:.0f} s: one at a time"
    return Verdict(Rule.DOWN, scene.replicas - 1, message)


def _steady(scene: Scene) -> Verdict:
    estimates = scene.estimates
    message = (
        f"lag is {scene.lag_seconds:.1f} s; requests take {estimates.read_cpu:.2f} CPU of all replicas and records "
        f"{estimates.write_cpu:.2f} CPU of each"
    )
    return hold(scene, Rule.STEADY, message)


def _up(scene: Scene, rule: Rule, wanted: int, message: str) -> Verdict:
    """As many of the `wanted` replicas as may be, unless scale-ups have proved useless lately."""
    if scene.now < scene.state.blocked_until:
        seconds = scene.state.blocked_until - scene.now
        blocked = f"more replicas did not help; that is tried again in {seconds:.0f} s ({message})"
        return hold(scene, Rule.INEFFECTIVE, blocked)
    allowed, limit = _limit(scene, wanted)
    if allowed <= scene.replicas:
        return hold(scene, rule, f"{message}, but there may be no more than {_count(scene.replicas)}", limit=limit)
    state = replace(scene.state, trial=trials.begin(scene, allowed))
    return Verdict(rule, allowed, message, limit=limit, state=state)


def _limit(scene: Scene, wanted: int) -> tuple[int, Limit | None]:
    """How many of `wanted` may be, and what is in the way of the others."""
    policy, estimates = scene.policy, scene.estimates
    allowed, limit = min(wanted, policy.max_replicas), Limit.MAXIMUM
    fetched = (estimates.append_rate or 0.0) * estimates.record_bytes
    if policy.max_broker_egress_bytes_per_second is not None and fetched > 0:
        bound = max(policy.min_replicas, int(policy.max_broker_egress_bytes_per_second / fetched))
        if bound < allowed:
            allowed, limit = bound, Limit.EGRESS
    return allowed, limit if allowed < wanted else None


def _count(replicas: int) -> str:
    return "1 replica" if replicas == 1 else f"{replicas} replicas"


RULES: Final[tuple[Callable[[Scene], Verdict | None], ...]] = (
    _out_of_bounds,
    _metrics_unavailable,
    _booting,
    _apply_stalled,
    _fetch_bound,
    _write_bound,
    stragglers.judge,
    trials.judge,
    _read_steal,
    _catch_up,
    _down,
)
