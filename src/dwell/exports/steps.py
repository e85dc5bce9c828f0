r"""Which steps of a text are right: by the task's own truth, or by what followed them.

**Truth.** A step of a built-in task is right if the pass so far is right: in a chain every line
equals the exact one; in a countdown every line is legal and the target can still be reached from
the numbers that remain (found by trying all ways). After a wrong step all later ones are wrong,
until a marker line starts a new pass.

**Rollouts.** Elsewhere the value of a prefix is the share of its recorded completions that end
right:

    v(q, s_1..s_t) = (right completions of s_1..s_t) / (completions of s_1..s_t)

and the step is labelled right if ``v > threshold``. With threshold 0 this is the hard estimate
``y^HE = 1 if any completion is right`` and v itself the soft estimate ``y^SE`` of Wang and others,
"Math-Shepherd: Verify and Reinforce LLMs Step-by-step without Human Annotations" (2023), equations
3 and 4. There N completions are drawn for every prefix; here they are those that the ledger holds:
all texts of the question that begin with the prefix and whose last draw began at or before its
end and ran freely to its own end. Given that a text begins with the prefix, the rest of it is such
a draw of the model, so the share is unbiased for a given prefix. Texts of searches are not
counted before their last draw: a verifier chose which prefixes lived, so that their share would
say what the verifier likes. Different from the paper, a text counts among its own completions, so
that a right text has no wrong step under the hard estimate.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from dwell.exports.questions import Question, Sample
from dwell.tasks.chain import apply_operator, parse_chain
from dwell.tasks.countdown import exact_result, parse_countdown

_LINE = re.compile(r"(\d{1,3})([+\-*])(\d{1,3})=(\d{1,3})(?:,(\d{1,3}(?: \d{1,3})*))?")
#: The largest number that a line of a countdown can hold.
_LARGEST = 999
_ANSWER = re.compile(r"A(\d{1,4})")


def steps_of(text: str, separator: str) -> list[str]:
    r"""The steps of a text, without what divides them; empty ones are left out.

    Examples:
        >>> steps_of("47+38=85\n85*3=55\nA55\n", "\n")
        ['47+38=85', '85*3=55', 'A55']
    """
    return [step for step in text.split(separator) if step.strip()]


# ---- the tasks' own truth ------------------------------------------------------------------


def truth_of(question: Question) -> Callable[[Sequence[str]], list[bool]] | None:
    r"""What labels the steps of a question's texts exactly; None where its task cannot.

    Examples:
        >>> asked = [{"role": "user", "content": "C47+38*3\n"}]
        >>> q = Question(id="x", prompt="C47+38*3\n", messages=asked, chat=False, task="chain")
        >>> truth_of(q)(["47+38=75", "75*3=25", "A25"])
        [False, False, False]
    """
    known = STEP_TRUTH.get(question.task)
    markers = frozenset(text.strip() for text in question.markers)
    prompt = question.prompt
    if known is None or prompt is None:
        return None
    return lambda steps: known(prompt, steps, markers)


def chain_truth(prompt: str, steps: Sequence[str], markers: frozenset[str]) -> list[bool]:
    """Whether each line of a chain, and all before it in its pass, equals the exact one."""
    value, terms = parse_chain(prompt)
    exact: list[tuple[int, ...] | str] = []
    for operator, operand in terms:
        result = apply_operator(value, operator, operand)
        exact.append(f"{value}{operator}{operand}={result}")
        value = result
    exact.append(f"A{value}")
    labels, place, sound = [], 0, True
    for step in steps:
        if step.strip() in markers:
            place, sound = 0, True
        else:
            sound = sound and place < len(exact) and _plain(step) == exact[place]
            place += 1
        labels.append(sound)
    return labels


def _plain(step: str) -> str:
    """A line of a chain with its numbers without leading zeros."""
    if answer := _ANSWER.fullmatch(step):
        return f"A{int(answer[1])}"
    line = _LINE.fullmatch(step)
    if line is None or line[5] is not None:
        return step
    return f"{int(line[1])}{line[2]}{int(line[3])}={int(line[4])}"


def countdown_truth(prompt: str, steps: Sequence[str], markers: frozenset[str]) -> list[bool]:
    """Whether each line is legal, with all before it, and the target can still be reached."""
    numbers, target = parse_countdown(prompt)
    labels, at_hand, sound = [], Counter(numbers), True
    for step in steps:
        if step.strip() in markers:
            at_hand, sound = Counter(numbers), True
        elif sound:
            left = _after(step, at_hand)
            sound = left is not None and _reachable(tuple(sorted(left.elements())), target)
            at_hand = left or at_hand
        labels.append(sound)
    return labels


def _after(step: str, at_hand: Counter[int]) -> Counter[int] | None:
    """The numbers that remain after a line, None where the line is not legal."""
    line = _LINE.fullmatch(step)
    if line is None:
        return None
    left, right, result = int(line[1]), int(line[3]), int(line[4])
    taken = Counter([left, right])
    if not taken <= at_hand or exact_result(left, line[2], right) != result:
        return None
    remain = at_hand - taken + Counter([result])
    written = [] if line[5] is None else [int(number) for number in line[5].split(" ")]
    # A line without a list says that it is the last one.
    legal = remain.total() == 1 if line[5] is None else Counter(written) == remain
    return remain if legal else None


@lru_cache(maxsize=200_000)
def _reachable(numbers: tuple[int, ...], target: int) -> bool:
    """Whether some order of operations makes the target of all the numbers."""
    if len(numbers) == 1:
        return numbers[0] == target
    for i, first in enumerate(numbers):
        for j, second in enumerate(numbers):
            if i == j:
                continue
            rest = [n for k, n in enumerate(numbers) if k not in (i, j)]
            for operator in "+-*":
                result = exact_result(first, operator, second)
                if 0 <= result <= _LARGEST and _reachable(tuple(sorted([*rest, result])), target):
                    return True
    return False


#: (prompt, steps, marker lines) -> labels, by task.
STEP_TRUTH: Mapping[str, Callable[[str, Sequence[str], frozenset[str]], list[bool]]] = {
    "chain": chain_truth,
    "countdown": countdown_truth,
}


# ---- rollouts ------------------------------------------------------------------------------


class Rollouts:
    r"""How many completions of each prefix are recorded, and how many of them end right.

    Args:
        samples: of one question; those that are not graded, were cut off or did not run freely
            are not counted.
        separator: what divides steps.

    Examples:
        >>> texts = [("a\nb", True), ("a\nc", False), ("d\nb", False)]
        >>> found = Rollouts([Sample(text=t, correct=c) for t, c in texts], "\n")
        >>> found.values("a\nc")
        ([0.5, 0.0], [2, 1])
    """

    def __init__(self, samples: Sequence[Sample], separator: str) -> None:
        self._separator = separator
        # A prefix is a node, named by the node before it and its last step.
        self._nodes: dict[tuple[int, str], int] = {}
        self._counts: list[list[int]] = [[0, 0]]
        for sample in samples:
            if sample.correct is None or not sample.free or sample.cut:
                continue
            # The prefix that the last draw began with is the first that it completes.
            begun = steps_of(sample.text[: sample.start], separator)
            for node in self._path(sample.text)[max(0, len(begun) - 1) :]:
                count = self._counts[node]
                count[0] += 1
                count[1] += sample.correct

    def _path(self, text: str) -> list[int]:
        """The node of the prefix that each step of a text ends."""
        node, path = 0, []
        for step in steps_of(text, self._separator):
            node = self._nodes.setdefault((node, step), len(self._counts))
            if node == len(self._counts):
                self._counts.append([0, 0])
            path.append(node)
        return path

    def values(self, text: str) -> tuple[list[float], list[int]]:
        """Share right and number of completions of the prefix that each step of a text ends.

        NaN and 0 where none is recorded.
        """
        counts = [self._counts[node] for node in self._path(text)]
        shares = [right / count if count else float("nan") for count, right in counts]
        return shares, [count for count, _ in counts]
