"""Verifiers: they give scores, and say what a score costs and what it may know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

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

#: What begins the name of a reward model in a local folder.
LOCAL = "transformers:"


def make_verifier(
    name: str,
    /,
    *,
    tasks: Mapping[str, Task] | None = None,
    scorer: Callable[[], TextScorer] | None = None,
    **options: Any,
) -> Verifier:
    """The verifier of a name.

    Args:
        name: one of `VERIFIERS`, or "transformers:FOLDER" for a reward model that torch runs.
        tasks: checkers by name, for "exact".
        scorer: makes the network of "process_weak"; called only if that is asked for.
        options: further arguments of a reward model's class.

    Raises:
        UsageError: an unknown name, or what the verifier needs was not given.
        MissingExtraError: a reward model for torch, without torch.
    """
    if name.startswith(LOCAL):
        module = import_module("dwell.verifiers.transformers_process")
        local: Verifier = module.TransformersVerifier(name.removeprefix(LOCAL), **options)
        return local
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
            "Name one of those, transformers:FOLDER, or a judge that the study describes."
        )
    return simple[name]()
