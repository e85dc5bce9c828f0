"""Policies: what to do with a question, by how its first few draws came out.

A policy draws `probe` whole answers, looks at a few features of them, and goes on with the
strategy of the first route whose conditions hold. With `probe = 0` it is one strategy for all.
Plan files hold policies as a table that a person can read; this module reads and writes that
table. It knows nothing of how a policy was found.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from dwell.errors import UsageError
from dwell.protocols import Strategy
from dwell.streams import BoolArray, FloatArray, IntArray, Replayed, Streams

#: What can be seen of the first draws. Each is a number; unknown scores are minus infinity.
FEATURES = {
    "leader_votes": "votes of the leading answer",
    "runner_up_votes": "votes of the second answer",
    "distinct_answers": "different answers",
    "top_score": "highest score",
}

Parse = Callable[[str], Strategy]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """`at_least <= feature < below`."""

    feature: str
    at_least: float = -math.inf
    below: float = math.inf

    def holds(self, features: Mapping[str, FloatArray]) -> BoolArray:
        """Where it holds, `[...]`."""
        value = features[self.feature]
        return (value >= self.at_least) & (value < self.below)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A strategy, and when it is taken: where all conditions hold (none = always)."""

    strategy: Strategy
    when: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A probe and its routes.

    Attributes:
        routes: the first whose conditions hold is taken; the last has none.
        probe: draws made before looking; 0 = do not look.
        score: verifier of the feature `top_score`; None where it is not used.
    """

    routes: tuple[Route, ...]
    probe: int = 0
    score: str | None = None

    def __post_init__(self) -> None:
        if not self.routes or self.routes[-1].when:
            raise UsageError(
                "A policy's last route must be taken always, but it has conditions or is "
                "missing. Leave `when` of the last route empty."
            )

    def route(self, streams: Streams) -> IntArray:
        """`[...]` number of the route that each stream takes."""
        taken = np.full(np.shape(streams.sizes), len(self.routes) - 1)
        if not self.probe:
            return taken
        seen = features_of(streams, self.probe, self.score)
        for number in range(len(self.routes) - 2, -1, -1):
            met = np.ones(taken.shape, bool)
            for condition in self.routes[number].when:
                met &= condition.holds(seen)
            taken = np.where(met, number, taken)
        return taken

    def replay(self, streams: Streams) -> Replayed | None:
        """What the policy does on streams of recorded whole answers; None if a route cannot say.

        The probe's draws are the first of the route's strategy: they are charged once.
        """
        taken = self.route(streams)
        drawn, chosen = np.full((2, *taken.shape), -1)
        place: IntArray | None = np.full(taken.shape, -1)
        for number, route in enumerate(self.routes):
            found = route.strategy.replay(streams)
            if found is None:
                return None
            here = taken == number
            known = here & (found.drawn >= 0) & (streams.sizes >= self.probe)
            drawn = np.where(known, np.maximum(found.drawn, self.probe), drawn)
            chosen = np.where(known, found.chosen, chosen)
            if place is not None and found.place is not None:
                place = np.where(known, found.place, place)
            elif here.any():
                place = None
        return Replayed(drawn=drawn, chosen=chosen, place=place)

    def capped(self, n: int) -> Policy:
        """The same with at most n draws a route; without its probe where that takes them all."""
        routes = tuple(replace(r, strategy=_capped(r.strategy, n)) for r in self.routes)
        return replace(self, routes=routes) if n > self.probe else Policy(routes=routes[-1:])


def _capped(strategy: Strategy, n: int) -> Strategy:
    held = getattr(strategy, strategy.scale, None)
    if strategy.scale != "n" or not isinstance(held, int) or held <= n:
        return strategy
    return replace(strategy, n=n)  # type: ignore[type-var]


def features_of(streams: Streams, probe: int, score: str | None = None) -> dict[str, FloatArray]:
    """The features of the first `probe` draws, `[...]` each.

    Args:
        streams: at least `probe` draws long.
        probe: m, at least 1.
        score: verifier of `top_score`; None leaves that feature out.
    """
    standing = streams.standing
    found = {
        "leader_votes": standing.votes[..., probe - 1],
        "runner_up_votes": standing.runner_up[..., probe - 1],
        "distinct_answers": standing.distinct[..., probe - 1],
    }
    seen = {name: np.asarray(value, np.float64) for name, value in found.items()}
    if score is not None:
        scores = streams.scores_of(score)[..., :probe]
        seen["top_score"] = np.where(np.isnan(scores), -np.inf, scores).max(axis=-1)
    return seen


def policy_record(policy: Policy) -> dict[str, Any]:
    """A policy as a JSON-able table."""
    return {
        "probe": {"draws": policy.probe, "score": policy.score} if policy.probe else None,
        "routes": [
            {
                "when": {c.feature: _bounds(c) for c in route.when},
                "strategy": short_spec(route.strategy),
            }
            for route in policy.routes
        ],
    }


def _bounds(condition: Condition) -> dict[str, float]:
    ends = {"at_least": condition.at_least, "below": condition.below}
    return {name: value for name, value in ends.items() if math.isfinite(value)}


def short_spec(strategy: Strategy) -> str:
    """The strategy as one types it: its scale, and what is not default.

    Examples:
        >>> from dwell.strategies import make
        >>> short_spec(make("best_of_n", n=8, verifier="score"))
        'best_of_n:n=8,verifier=score'
    """
    defaults = {f.name: f.default for f in fields(strategy)}  # type: ignore[arg-type]
    own = strategy.params()
    shown = {strategy.scale: own[strategy.scale]}
    shown |= {key: value for key, value in own.items() if value != defaults[key]}
    return f"{strategy.name}:" + ",".join(f"{key}={value}" for key, value in shown.items())


def read_policy(record: Any, parse: Parse, source: str) -> Policy:
    """The policy in a plan's table.

    Args:
        record: what `policy_record` wrote, perhaps edited by hand.
        parse: makes a strategy from its text.
        source: what to call it in messages, such as a file's name.

    Raises:
        UsageError: it is not such a table, or names what is unknown.
    """
    routes = record.get("routes") if isinstance(record, Mapping) else None
    if not isinstance(routes, Sequence) or isinstance(routes, str) or not routes:
        raise _broken(source, "needs `policy.routes`, a list of routes", routes)
    probe = record.get("probe")
    if probe is not None and not isinstance(probe, Mapping):
        raise _broken(source, "needs `policy.probe` to be a table or null", probe)
    draws = probe.get("draws") if probe else 0
    score = probe.get("score") if probe else None
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < (1 if probe else 0):
        raise _broken(source, "needs `policy.probe.draws` to be a number of draws", draws)
    if score is not None and not isinstance(score, str):
        raise _broken(source, "needs `policy.probe.score` to be a verifier's name", score)
    read = tuple(_read_route(route, parse, source, score) for route in routes)
    if not draws and len(read) > 1:
        raise _broken(source, "needs `policy.probe` where it has several routes", probe)
    try:
        return Policy(routes=read, probe=draws, score=score)
    except UsageError as error:
        raise UsageError(f"{source}: {error}") from error


def _read_route(route: Any, parse: Parse, source: str, score: str | None) -> Route:
    if not isinstance(route, Mapping) or not isinstance(route.get("strategy"), str):
        raise _broken(source, "needs a `strategy` in each route", route)
    when = route.get("when", {})
    if not isinstance(when, Mapping):
        raise _broken(source, "needs `when` of a route to be a table", when)
    conditions = tuple(
        _read_condition(feature, bounds, source, score) for feature, bounds in when.items()
    )
    try:
        return Route(strategy=parse(route["strategy"]), when=conditions)
    except UsageError as error:
        raise UsageError(f"{source}: {error}") from error


def _read_condition(feature: str, bounds: Any, source: str, score: str | None) -> Condition:
    known = [name for name in FEATURES if name != "top_score" or score is not None]
    if feature not in known:
        raise _broken(source, f"routes by {', '.join(known)}", feature)
    good = isinstance(bounds, Mapping) and set(bounds) <= {"at_least", "below"}
    if not good or not all(_is_number(value) for value in bounds.values()):
        raise _broken(source, f"needs numbers `at_least` and `below` for {feature}", bounds)
    return Condition(feature=feature, **{key: float(value) for key, value in bounds.items()})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _broken(source: str, rule: str, found: Any) -> UsageError:
    shown = repr(found)
    shown = shown if len(shown) < 60 else shown[:57] + "..."
    return UsageError(
        f"{source}: a plan {rule}, but it has {shown}. Make it again with `dwell plan`."
    )
