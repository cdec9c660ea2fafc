"""What holds of every decision, whatever replicas do and tell."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sharedlogkv_operator.autoscaler.decision import Decision, Rule
from sharedlogkv_operator.autoscaler.policy import Policy
from sharedlogkv_operator.autoscaler.record import dump_state, load_state
from tests.support.fleet import Fleet

cpu = st.floats(0.0, 1.0)
rates = st.floats(0.0, 50_000.0)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    least = draw(st.integers(1, 5))
    return Policy(
        min_replicas=least,
        max_replicas=draw(st.integers(least, 12)),
        target_lag_seconds=draw(st.floats(1.0, 60.0)),
        read_utilization=draw(st.floats(0.1, 0.95)),
        max_broker_egress_bytes_per_second=draw(st.none() | st.integers(1, 10_000_000)),
        scale_up_window_seconds=draw(st.sampled_from([0.0, 30.0])),
        scale_down_window_seconds=draw(st.sampled_from([0.0, 60.0, 300.0])),
        scale_down_period_seconds=draw(st.sampled_from([0.0, 30.0])),
    )


class AutoscalerMachine(RuleBasedStateMachine):
    """Replicas to which anything happens, and a Deployment that obeys."""

    fleet: Fleet
    last: Decision | None = None
    shrunk_blindly = False

    @initialize(policy=policies(), count=st.integers(1, 12))
    def begin(self, policy: Policy, count: int) -> None:
        self.fleet = Fleet(count, policy=policy)

    @rule(looks=st.integers(1, 30))
    def look(self, looks: int) -> None:
        for _ in range(looks):
            fleet, before = self.fleet, self.fleet.replicas
            self.last = decision = fleet.look()
            policy = fleet.policy
            most = policy.max_replicas + (fleet.state.replacement is not None)
            assert policy.min_replicas <= decision.desired <= max(most, policy.max_replicas)
            if decision.desired < before - 1:
                assert decision.rule in (Rule.OUT_OF_BOUNDS, Rule.INEFFECTIVE)
            if decision.desired != before and decision.rule is not Rule.OUT_OF_BOUNDS:
                told = [pod for pod in fleet.pods.values() if pod.is_ready and pod.is_told]
                ready = [pod for pod in fleet.pods.values() if pod.is_ready]
                assert 3 * len(told) >= 2 * len(ready) > 0
            assert decision.message
            assert len(set(decision.victims)) == len(decision.victims)
            assert set(decision.victims) <= set(fleet.pods)
            others = [name for name in fleet.pods if not fleet.pods[name].is_leader]
            if decision.desired < before and decision.desired <= len(others) and len(fleet.pods) == before:
                gone = decision.victims[: before - decision.desired]
                assert not any(fleet.pods[name].is_leader for name in gone)
            fleet.obey(decision)

    @rule(data=st.data(), applied=rates, served=rates, shed=rates, apply_cpu=cpu, serve_cpu=cpu)
    def load_one(
        self, data: st.DataObject, applied: float, served: float, shed: float, apply_cpu: float, serve_cpu: float
    ) -> None:
        pod = self.fleet.pods[data.draw(st.sampled_from(sorted(self.fleet.pods)))]
        pod.applied, pod.served, pod.shed, pod.apply_cpu, pod.serve_cpu = applied, served, shed, apply_cpu, serve_cpu
        pod.lag, pod.lag_slope = data.draw(st.floats(0.0, 1_000.0)), data.draw(st.floats(-2.0, 1.0))

    @rule(served=rates, lag=st.floats(0.0, 100.0), slope=st.floats(-2.0, 1.0))
    def load_all(self, served: float, lag: float, slope: float) -> None:
        self.fleet.set_all(served=served, lag=lag, lag_slope=slope, serve_cpu=None, apply_cpu=None)

    @rule(appends=rates)
    def write(self, appends: float) -> None:
        self.fleet.appends = appends
        self.fleet.set_all(applied=appends)

    @rule(data=st.data(), ready=st.booleans(), told=st.booleans())
    def turn(self, data: st.DataObject, ready: bool, told: bool) -> None:
        pod = self.fleet.pods[data.draw(st.sampled_from(sorted(self.fleet.pods)))]
        pod.is_ready, pod.is_told = ready, told

    @rule()
    def serve(self) -> None:
        for pod in self.fleet.pods.values():
            pod.is_ready = pod.is_told = True

    @rule(data=st.data())
    def restart_one(self, data: st.DataObject) -> None:
        pod = self.fleet.pods[data.draw(st.sampled_from(sorted(self.fleet.pods)))]
        pod.totals, pod.uptime = {}, 0.0

    @rule(data=st.data())
    def elect(self, data: st.DataObject) -> None:
        leader = data.draw(st.sampled_from(sorted(self.fleet.pods)))
        for name, pod in self.fleet.pods.items():
            pod.is_leader = name == leader

    @rule()
    def restart_the_operator(self) -> None:
        self.fleet.state = load_state(dump_state(self.fleet.state))

    @invariant()
    def the_memory_is_read_back(self) -> None:
        if self.last is not None:
            memory = dump_state(self.last.state)
            assert dump_state(load_state(memory)) == memory


TestAutoscaler = AutoscalerMachine.TestCase
TestAutoscaler.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@given(served=st.floats(100.0, 4_000.0), appends=st.floats(100.0, 5_000.0), count=st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_a_steady_load_is_answered_once_and_then_left_alone(served: float, appends: float, count: int) -> None:
    """However many there are at first, the count settles, and neither falls nor rises again."""
    fleet = Fleet(count, policy=Policy(min_replicas=1, max_replicas=40), appends=appends, served=served)
    total, counts = served * count, [count]
    for _ in range(400):
        decision = fleet.look()
        fleet.obey(decision, serves=True, age=700.0)
        fleet.set_all(served=total / fleet.replicas)
        if decision.desired != counts[-1]:
            counts.append(decision.desired)
    assert counts == sorted(counts) or counts == sorted(counts, reverse=True)
