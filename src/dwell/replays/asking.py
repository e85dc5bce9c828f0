"""What is asked of a recording: strategies and bounds by name, at which budgets.

A word names a strategy with its parameters, as `dwell run` takes them, or one of the bounds below,
which read the true grades and are therefore oracles.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from dwell.curves import label_of
from dwell.errors import UsageError
from dwell.protocols import Strategy
from dwell.recordings import Recording
from dwell.strategies import STRATEGIES, Planned, Sample, parse

#: Bounds that one may ask for beside strategies; all of them read the true grades.
BOUNDS = MappingProxyType(
    {
        "coverage": "coverage (pass@k)",
        "best": "best of k by the true grade",
        "worst": "worst of k by the true grade (pass^k)",
        "average": "average of k",
        "turns": "right within t turns",
    }
)
#: The column that stands in for a strategy's verifier where the word names none.
DEFAULT_SCORE = "score"
#: The verifier that reads the true grade: an oracle.
EXACT = "exact"
ALL, EACH = "all", "each"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One curve to draw.

    Attributes:
        name: the strategy's or bound's.
        label: name and those parameters that are not default.
        strategy: what to evaluate, at any value of its scale; a plain sample for bounds.
        budgets: of its own, where the word fixes the scale's value; else None.
        given: parameters that the word named; None where a whole strategy was given. A verifier
            or cap that was not named is taken from the recording.
    """

    name: str
    label: str
    strategy: Strategy
    budgets: tuple[int, ...] | None = None
    given: frozenset[str] | None = None

    @property
    def default_verifier(self) -> bool:
        """Whether the verifier is to be found in the recording."""
        named = self.given is None or "verifier" in self.given
        return not named and "verifier" in self.strategy.params()

    @property
    def bound(self) -> bool:
        """Whether this is a bound and not a strategy."""
        return self.name in BOUNDS

    @property
    def oracle(self) -> bool:
        """Whether it reads the true grades."""
        return self.bound or EXACT in self.strategy.verifiers()

    @property
    def scale(self) -> str:
        """What its budgets are values of."""
        return "turns" if self.name == "turns" else self.strategy.scale

    def at(self, budget: int) -> Strategy:
        """The strategy at one budget."""
        changed: Strategy = replace(self.strategy, **{self.strategy.scale: budget})  # type: ignore[type-var]
        return changed

    def on(self, recording: Recording) -> Asked:
        """The same with the verifier that this recording has.

        Raises:
            UsageError: the strategy needs what was not recorded; the message names it.
        """
        _check_turns(self, recording)
        if self.bound:
            return self
        if missing := sorted(self.strategy.needs):
            raise UsageError(
                f"`{self.name}` needs {' and '.join(_NEEDS.get(n, n) for n in missing)}, which a "
                "recording of whole answers does not hold. Leave it out, or run it on a model."
            )
        found = _within(_with_score(self, recording), recording)
        if votes(found.strategy) and recording.codes is None:
            raise UsageError(
                f"`{self.name}` votes, so it needs answers, but {recording.run} has none recorded "
                "(no column `answer`). Name the column with --map answer=COLUMN, or leave it out."
            )
        return found


_NEEDS = {
    "partial": "step prefixes to continue",
    "step": "single steps",
    "forbid_end": "texts that can be prolonged",
}


def asked(words: str | Iterable[str | Strategy]) -> list[Asked]:
    """What words, or strategies themselves, ask for; each once.

    Args:
        words: ``"majority,best_of_n:verifier=score"``, or several such words; commas, semicolons
            or spaces part them.

    Raises:
        UsageError: an unknown name or parameter, or nothing is asked.
    """
    items = [words] if isinstance(words, str) else list(words)
    found: dict[str, Asked] = {}
    for item in items:
        for one in [_of(item)] if isinstance(item, Strategy) else map(_word, split_words(item)):
            found.setdefault(f"{one.label} {one.budgets}", one)
    if not found:
        raise UsageError(
            "A replay needs strategies, but got none. Write for example: "
            "--strategies sample,majority,coverage"
        )
    return list(found.values())


def split_words(text: str) -> list[str]:
    """The words of a line: a piece ``key=value`` belongs to the word before it.

    Examples:
        >>> split_words("majority,best_of_n:verifier=score,mode=none;coverage")
        ['majority', 'best_of_n:verifier=score,mode=none', 'coverage']
    """
    words: list[str] = []
    for chunk in re.split(r"[;\s]+", text.strip()):
        first = True
        for piece in filter(None, chunk.split(",")):
            if not first and "=" in piece and ":" not in piece and "(" not in piece:
                words[-1] += f",{piece}"
            else:
                words.append(piece)
            first = False
    return words


def _word(word: str) -> Asked:
    name = re.split(r"[:(]", word, maxsplit=1)[0].strip()
    if name in BOUNDS:
        if name != word.strip():
            raise UsageError(f"`{name}` takes no parameters, but got {word!r}. Leave them out.")
        return Asked(name=name, label=BOUNDS[name], strategy=Sample())
    if name not in (*STRATEGIES, Planned.name):
        known = [*STRATEGIES, Planned.name, *BOUNDS]
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
        raise UsageError(
            f"A strategy must be one of {', '.join(known)}, but got {name!r}."
            + (f" Did you mean {close[0]}?" if close else "")
        )
    strategy = parse(word)
    given = set(re.findall(r"(\w+)\s*=", word))
    return _of(strategy, given)


def _of(strategy: Strategy, given: set[str] | None = None) -> Asked:
    """A strategy; `given` are the parameters that a word named, None takes all as meant."""
    budgets = None
    if given is not None and strategy.scale in given:
        budgets = (int(getattr(strategy, strategy.scale)),)
    return Asked(
        name=strategy.name,
        label=label_of(strategy),
        strategy=strategy,
        budgets=budgets,
        given=None if given is None else frozenset(given),
    )


def votes(strategy: Strategy) -> bool:
    """Whether a strategy compares answers with each other, so that it needs them recorded."""
    return strategy.exchangeable != "pass" and (
        not strategy.verifiers() or strategy.name == "weighted_majority"
    )


def _with_score(one: Asked, recording: Recording) -> Asked:
    """The strategy with a recorded number as its verifier."""
    wanted = one.strategy.verifiers()
    if not wanted:
        return one
    known = sorted(recording.columns)
    if one.default_verifier and DEFAULT_SCORE in recording.columns:
        strategy: Strategy = replace(one.strategy, verifier=DEFAULT_SCORE)  # type: ignore[type-var]
        return replace(one, strategy=strategy, label=label_of(strategy))
    absent = sorted(name for name in wanted if name not in recording.columns and name != EXACT)
    if one.default_verifier or absent:
        which = "a score column" if one.default_verifier else f"the column {absent[0]!r}"
        example = f" Write for example {one.name}:verifier={known[0]}." if known else ""
        raise UsageError(
            f"`{one.name}` needs {which}, which was not recorded; recorded numbers: "
            f"{', '.join(known) or 'none'}.{example}"
        )
    return one


def _within(one: Asked, recording: Recording) -> Asked:
    """A strategy for pools with its cap on one question's draws at what was recorded."""
    cap = getattr(one.strategy, "cap", None)
    if not one.strategy.pooled or cap is None or one.given is None or "cap" in one.given:
        return one
    least = max(1, int(recording.sizes.min()))
    capped: Strategy = replace(one.strategy, cap=min(cap, least))  # type: ignore[type-var]
    return replace(one, strategy=capped)


def _check_turns(one: Asked, recording: Recording) -> None:
    if recording.turns is not None and one.name != "turns":
        raise UsageError(
            f"`{one.name}` needs independent whole answers, but the rows of {recording.run} are "
            "successive turns. Ask for `turns`, or choose one turn with --where turn=0."
        )
    if recording.turns is None and one.name == "turns":
        raise UsageError(
            f"`turns` needs successive attempts (a column `turn`), but {recording.run} holds "
            "independent answers. Ask for `coverage` instead."
        )


def budgets_of(
    one: Asked, recording: Recording, budgets: str | Sequence[int] | None
) -> tuple[int, ...]:
    """The budgets of one curve on one recording, ascending; none beyond the recorded draws.

    Args:
        one: what is asked.
        recording: which has at most `most_draws` draws of a question.
        budgets: numbers, "all", "each" (all draws that a question has, however many), or None for
            powers of two and the most draws.
    """
    most = num_turns(recording) if one.name == "turns" else recording.most_draws
    if one.budgets is not None:
        wanted: Iterable[int] = one.budgets
    elif budgets == ALL or (budgets is None and one.name == "turns"):
        wanted = range(1, most + 1)
    elif budgets == EACH:
        wanted = [most]
    elif budgets is None:
        wanted = [*(2**i for i in range(most.bit_length())), most]
    else:
        wanted = checked_budgets(budgets)
    return tuple(sorted({n for n in wanted if n <= most}))


def num_turns(recording: Recording) -> int:
    """The most turns of any sample."""
    return 0 if recording.turns is None else int(recording.turns.max() - first_turn(recording)) + 1


def first_turn(recording: Recording) -> int:
    """The number of the first turn: 0 or 1, as recorded."""
    assert recording.turns is not None
    return int(recording.turns[recording.turns >= 0].min(initial=0))


def checked_budgets(budgets: str | Sequence[int]) -> list[int]:
    """Budgets as whole numbers of at least 1.

    Raises:
        UsageError: they are not.
    """
    if isinstance(budgets, str):
        words: Sequence[Any] = budgets.split(",")
    else:
        words = budgets
    try:
        found = [int(word) for word in words]
    except ValueError as error:
        raise UsageError(
            f"Budgets are whole numbers with commas, or `all`, but got {budgets!r}. "
            "Write for example 1,4,16."
        ) from error
    if not found or min(found) < 1:
        raise UsageError(f"Budgets are at least 1, but got {budgets!r}. Write for example 1,4,16.")
    return found
