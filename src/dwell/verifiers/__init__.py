"""Verifiers: they give scores, and say what a score costs and what it may know."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dwell.errors import UsageError
from dwell.protocols import Task, Verifier
from dwell.verifiers.certainty import Agreement, SelfCertainty, WorstSurprisal
from dwell.verifiers.exact import Exact
from dwell.verifiers.judge import Judge
from dwell.verifiers.process import Process, ProcessWeak, TextScorer

__all__ = [
    "VERIFIERS",
    "Agreement",
    "Exact",
    "Judge",
    "Process",
    "ProcessWeak",
    "SelfCertainty",
    "TextScorer",
    "WorstSurprisal",
    "make_verifier",
]

#: What each verifier does, in one line; in the order in which they are listed.
VERIFIERS: Mapping[str, str] = {
    "exact": "the task's checker and reference: an upper bound, not a method",
    "process": "the generator's own value head at the last step",
    "process_weak": "a separate weak network at the last step: shows over-optimisation",
    "self_certainty": "distance of the next-token distributions from uniform",
    "worst_surprisal": "minus the largest surprisal among result tokens",
    "agreement": "share of the other candidates with the same answer",
}


def make_verifier(
    name: str,
    *,
    tasks: Mapping[str, Task] | None = None,
    scorer: Callable[[], TextScorer] | None = None,
) -> Verifier:
    """The verifier of a name.

    Args:
        name: one of `VERIFIERS`.
        tasks: checkers by name, for "exact".
        scorer: makes the network of "process_weak"; called only if that is asked for.

    Raises:
        UsageError: an unknown name, or what the verifier needs was not given.
    """
    if name == "exact":
        return Exact(tasks or {})
    if name == "process_weak":
        if scorer is None:
            raise UsageError(
                "the verifier process_weak needs a network that reads texts, but got scorer=None. "
                "Pass scorer=, such as dwell.generators.tiny.weak_scorer."
            )
        return ProcessWeak(scorer())
    simple: Mapping[str, Callable[[], Verifier]] = {
        "process": Process,
        "self_certainty": SelfCertainty,
        "worst_surprisal": WorstSurprisal,
        "agreement": Agreement,
    }
    if name not in simple:
        raise UsageError(
            f"a verifier must be one of {', '.join(VERIFIERS)}, but got {name!r}. "
            "Name one of those, or a judge that the study describes."
        )
    return simple[name]()
