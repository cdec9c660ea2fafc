"""What of the state outlives the operator, as a JSON object in the resource's status.

Rates and costs are learned anew within seconds, and the stabilisation window begins anew, so that a restart can delay a
scale-down and never cause one. What must not be forgotten is what was begun: a trial, a replacement, a back-off.
"""

from collections.abc import Mapping

from sharedlogkv_operator.autoscaler.state import Replacement, State, Trial


def dump_state(state: State) -> dict[str, object]:
    """The lasting part of the state; empty when nothing was begun. Times are seconds since the epoch."""
    memory: dict[str, object] = {}
    if state.scaled_at:
        memory["scaledAt"] = state.scaled_at
    if state.replaced_at:
        memory["replacedAt"] = state.replaced_at
    if state.blocked_until:
        memory |= {"blockedUntil": state.blocked_until, "backoffSeconds": state.backoff_seconds}
    if state.replacement is not None:
        replacement = state.replacement
        memory["replacement"] = {
            "victim": replacement.victim,
            "base": replacement.base,
            "started": replacement.started,
        }
    if state.trial is not None:
        trial = state.trial
        memory["trial"] = {
            "origin": trial.origin,
            "target": trial.target,
            "pods": list(trial.pods),
            "offeredShare": trial.offered_share,
            "serveCpu": trial.serve_cpu,
        }
    return memory


def load_state(memory: object) -> State:
    """The state with which to go on; a fresh one where `memory` is not of this form: then only time is lost."""
    if not isinstance(memory, Mapping):
        return State()
    try:
        return State(
            scaled_at=float(memory.get("scaledAt", 0.0)),
            replaced_at=float(memory.get("replacedAt", 0.0)),
            blocked_until=float(memory.get("blockedUntil", 0.0)),
            backoff_seconds=float(memory.get("backoffSeconds", 0.0)),
            replacement=_load_replacement(memory["replacement"]) if "replacement" in memory else None,
            trial=_load_trial(memory["trial"]) if "trial" in memory else None,
        )
    except (KeyError, TypeError, ValueError):
        return State()


def _load_replacement(memory: Mapping[str, object]) -> Replacement:
    return Replacement(str(memory["victim"]), base=int(str(memory["base"])), started=float(str(memory["started"])))


def _load_trial(memory: Mapping[str, object]) -> Trial:
    pods = memory["pods"]
    if not isinstance(pods, list):
        raise TypeError("pods is no list")
    return Trial(
        origin=int(str(memory["origin"])),
        target=int(str(memory["target"])),
        served_since=None,  # that all serve is seen again, and two windows from then on are waited for
        pods=tuple(str(name) for name in pods),
        offered_share=float(str(memory["offeredShare"])),
        serve_cpu=float(str(memory["serveCpu"])),
    )
