"""The exact checker as a verifier: an oracle, and therefore an upper bound.

It reads the private reference, which no deployed system has. A strategy that chooses by it shows
what perfect choice could reach with the same draws (its accuracy is the coverage), and is
labelled an upper bound wherever it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dwell.errors import VerifierError
from dwell.protocols import Outcome, Task, VerifyWork
from dwell.records import Candidate, Problem
from dwell.verifiers.base import NOT_VERIFIED, CandidateVerifier


class Exact(CandidateVerifier):
    """1 for a right answer, 0 for a wrong one or none.

    An unfinished candidate is not verified (NaN): whether it can still end right is not known.

    Args:
        tasks: the checkers by name; a problem is checked by its own task.
    """

    name = "exact"
    oracle = True

    def __init__(self, tasks: Mapping[str, Task]) -> None:
        super().__init__()
        self._tasks = dict(tasks)
        self.fingerprint = f"exact:1:{','.join(sorted(self._tasks))}"

    async def score(self, work: Sequence[VerifyWork]) -> Sequence[Outcome]:
        """One outcome per work item; checks that take long are made first, off the event loop.

        Raises:
            VerifierError: the problem's task is not among the checkers.
        """
        for name, task in self._tasks.items():
            check_all = getattr(task, "check_all", None)
            if check_all is not None:
                own = [item for item in work if item.problem.task == name]
                await check_all([(i.problem, c.answer) for i in own for c in i.candidates])
        return await super().score(work)

    def value(self, candidate: Candidate, problem: Problem, *, prefix: bool) -> float:
        """1.0 or 0.0; NaN for an unfinished candidate.

        Raises:
            VerifierError: the problem's task is not among the checkers.
        """
        task = self._tasks.get(problem.task)
        if task is None:
            raise VerifierError(
                "the exact verifier needs the task of every problem, but has none for "
                f"{problem.task!r} of {problem.id!r}. Pass that task."
            )
        if not candidate.finished:
            return NOT_VERIFIED
        # No answer is never right; asking the task would only test how it treats None.
        right = candidate.answer is not None and task.check(problem, candidate.answer)
        return 1.0 if right else 0.0
