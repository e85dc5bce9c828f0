"""A judge: a verifier that asks a generator, and reads a score in what it writes.

It takes any generator that reads its prompt: an endpoint's model, a script. What it reads and
writes is charged as verifier tokens; its scores are kept in the ledger like draws, so a run that
is resumed does not ask again. What cannot be read is not verified (NaN) and noted as an attempt.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dwell.errors import GeneratorError, UsageError, VerifierError
from dwell.keys import draw_seeds
from dwell.protocols import Attempt, GenerateWork, Generator, Outcome, Priced, VerifyWork
from dwell.records import Candidate, Context, Draw, Problem, Usage
from dwell.requests import Generate
from dwell.verifiers.base import NOT_VERIFIED, short_hash
from dwell.verifiers.judge_charges import add_costs, as_verifier
from dwell.verifiers.judge_forms import FORMS, Judging, Manner, Question, Shown, Verdict
from dwell.verifiers.judge_prompts import TEMPLATES, Kind, Scale, check_template

#: Judges of these kinds compare candidates: they are asked in mode "group" only.
COMPARING: frozenset[Kind] = frozenset({"pairwise", "group"})
#: How often each question is asked where nobody says.
_VOTES: Mapping[Kind, int] = {"pointwise": 1, "critique": 1, "pairwise": 1, "group": 4}


@dataclass(slots=True)
class _Judgement:
    """One judgement: which draws it makes, its questions, and their replies as they come.

    Attributes:
        item: place of the work item.
        places: places of its candidates among the item's draws.
        seed: decides shuffles and the seeds of the replies.
        judging: the form at work; None where there is nothing to ask.
        questions: what it asks.
        outcomes: the replies, one outcome a question.
        verdict: what came of it.
    """

    item: int
    places: list[int]
    seed: int
    judging: Judging | None = None
    questions: list[Question] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    verdict: Verdict | None = None


class Judge:
    """A verifier that asks a generator.

    Scores lie in `[0, 1]`, higher is better. NaN = not verified: a failed candidate, or no
    readable verdict at all. Unreadable verdicts are left out of means, and noted as attempts.

    Args:
        generator: what judges.
        name: what strategies call it.
        kind: "pointwise" (a verdict at once), "critique" (a critique, then the verdict),
            "pairwise" (every two compared, in both orders) or "group" (all ranked together).
            The last two are asked in mode "group" only.
        scale: of pointwise and critique: "ten" (1 to 10, mapped to ``(s - 1) / 9``) or "yes_no"
            (P(True) from log-probabilities where known, else ``(s + 1) / (m + 2)``).
        votes: replies to each question, averaged: 1, or 4 rankings in shuffled orders ("group").
        max_pairs: most pairs of a pairwise judgement; None = all ``C (C - 1) / 2``.
        criteria: a sentence for the prompt: what counts.
        template: the whole prompt, with the places that `PLACES` names; None = the kind's own.
        temperature: of the judge's sampling; None = the generator's default.
        max_tokens: cap on one reply; None = the generator's default.
        use_logprobs: whether yes-no judges ask for log-probabilities where the generator has them.

    Raises:
        UsageError: an unknown kind or scale, a number below 1, a template without a place.

    References:
        pointwise, pairwise: Zheng et al., "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena"
        (2023); both orders: Wang et al., "Large Language Models are not Fair Evaluators" (2023).
        yes_no: Kadavath et al. (2022), P(True); Zhang et al., "Generative Verifiers" (2024).
        critique: Zhang et al. (2024); Ankner et al., "Critique-out-Loud Reward Models" (2024).
        group: Sun et al., "Is ChatGPT Good at Search?" (2023), one call; Liu et al.,
        "Inference-Time Scaling for Generalist Reward Modeling" (2025), shuffles.
    """

    wants: frozenset[str] = frozenset()
    derived = False
    oracle = False

    def __init__(
        self,
        generator: Generator,
        *,
        name: str = "judge",
        kind: Kind = "pointwise",
        scale: Scale = "ten",
        votes: int | None = None,
        max_pairs: int | None = None,
        criteria: str = "",
        template: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        use_logprobs: bool = True,
    ) -> None:
        _check(kind, scale, {"votes": votes, "max_pairs": max_pairs, "max_tokens": max_tokens})
        self.name = name
        self.max_batch = generator.max_batch
        self.concurrency = generator.concurrency
        self._generator = generator
        self._manner = Manner(
            kind=kind,
            scale=scale,
            template=check_template(kind, TEMPLATES[kind] if template is None else template),
            criteria=criteria,
            votes=_VOTES[kind] if votes is None else votes,
            max_pairs=max_pairs,
        )
        wanted = use_logprobs and kind == "pointwise" and scale == "yes_no"
        self._request = Generate(
            Context(messages=()),
            role="judge",
            temperature=temperature,
            max_tokens=max_tokens,
            want=frozenset({"surprisal"}) & generator.provides if wanted else frozenset(),
        )
        settings = (self._manner, temperature, max_tokens, sorted(self._request.want))
        self.fingerprint = f"judge:{short_hash(1, generator.fingerprint, settings)}"
        self.info: Mapping[str, Any] = {
            "kind": f"judge, {kind}", "name": name, "model": generator.info.get("name", ""),
        }  # fmt: skip
        self._gate: tuple[asyncio.AbstractEventLoop, asyncio.Semaphore] | None = None

    def __repr__(self) -> str:
        return f"Judge({self._generator!r}, name={self.name!r}, kind={self._manner.kind!r})"

    @property
    def kind(self) -> Kind:
        """How it asks."""
        return self._manner.kind

    async def score(self, work: Sequence[VerifyWork]) -> Sequence[Outcome]:
        """One outcome per work item; a draw carries the score, and what the judge said.

        A judgement of several candidates puts its whole cost on the first one's draw. Shuffles
        and the replies' seeds are functions of each judgement's seed.

        Raises:
            VerifierError: a judge that compares was asked about single candidates.
            GeneratorError: the judge's generator could serve nothing at all.
        """
        judgements = [one for k, item in enumerate(work) for one in self._judgements(k, item)]
        await self._ask(judgements)
        drawn: list[list[Draw]] = [[_blank() for _ in range(_count(item))] for item in work]
        attempts: list[list[Attempt]] = [[] for _ in work]
        for one in judgements:
            self._file(one, drawn[one.item], attempts[one.item])
        return [Outcome(d, a) for d, a in zip(drawn, attempts, strict=True)]

    def most_usd_of(self, work: VerifyWork) -> float:
        """The most that one work item can cost in dollars, where the calls succeed at once."""
        source = self._generator
        refused = self.kind in COMPARING and work.mode != "group"
        if refused or not isinstance(source, Priced):
            return 0.0
        items = [item for one in self._judgements(0, work) for item in self._work_of(one)]
        return sum(source.most_usd(item.request) * len(item.seeds) for item in items)

    def most_tokens_of(self, work: VerifyWork) -> float:
        """The most tokens that one work item can read and write, where the calls succeed at once.

        A token is a byte at least; infinite where the judge's replies have no cap.
        """
        if self.kind in COMPARING and work.mode != "group":
            return 0.0
        own: float = getattr(self._generator, "default_max_tokens", math.inf)
        cap = self._request.max_tokens or own
        items = [item for one in self._judgements(0, work) for item in self._work_of(one)]
        each = [cap + _TEMPLATE_TOKENS + _num_bytes(item) for item in items]
        return sum(most * len(item.seeds) for most, item in zip(each, items, strict=True))

    async def close(self) -> None:
        """Closes the generator that judges."""
        await self._generator.close()

    def _judgements(self, k: int, item: VerifyWork) -> list[_Judgement]:
        if item.mode != "group":
            if self.kind in COMPARING:
                raise VerifierError(
                    f"the judge {self.name} compares candidates ({self.kind}), so it needs "
                    f"mode='group', but got mode={item.mode!r}. Set mode = \"group\" on the "
                    "strategy, or use a pointwise judge."
                )
            sets = [([place], seed) for place, seed in enumerate(item.seeds)]
            return [self._begin(k, item, item.candidates, *one) for one in sets]
        size, made = len(item.candidates), []
        for begin in range(0, _count(item), max(1, size)):
            places, seed = list(range(begin, begin + size)), item.seeds[begin]
            if self.kind in COMPARING:
                made.append(self._begin(k, item, item.candidates, places, seed))
                continue
            seeds = draw_seeds(_eight_bytes(seed), 0, size)
            for place, candidate, own in zip(places, item.candidates, seeds, strict=True):
                made.append(self._begin(k, item, (candidate,), [place], own))
        return made

    def _begin(
        self,
        k: int,
        item: VerifyWork,
        candidates: Sequence[Candidate],
        places: list[int],
        seed: int,
    ) -> _Judgement:
        """A judgement of those candidates that can be judged, and its questions."""
        able = [n for n, c in enumerate(candidates) if c.status != "failed"]
        one = _Judgement(k, [places[n] for n in able], seed)
        if len(able) < (2 if self.kind in COMPARING else 1):
            return one
        texts = tuple(candidates[n].text for n in able)
        shown = Shown(item.problem.prompt, texts, item.mode == "prefix")
        one.judging = FORMS[self.kind](self._manner, shown, np.random.default_rng(seed))
        try:
            one.questions = next(one.judging)
        except StopIteration as end:  # decided without a question: all texts are equal
            one.verdict = end.value
        return one

    async def _ask(self, judgements: Sequence[_Judgement]) -> None:
        """Ask all questions at once, and let each judgement read its replies."""
        items = [work for one in judgements for work in self._work_of(one)]
        outcomes = iter(await self._generate(items))
        for one in judgements:
            one.outcomes = [next(outcomes) for _ in one.questions]
            if one.judging is None or one.verdict is not None:
                continue
            try:
                one.judging.send([outcome.draws for outcome in one.outcomes])
            except StopIteration as end:
                one.verdict = end.value

    def _work_of(self, one: _Judgement) -> list[GenerateWork]:
        """The judgement's questions as work; seeds do not depend on who else asks."""
        total = sum(question.n for question in one.questions)
        seeds = iter(draw_seeds(_eight_bytes(one.seed), 0, total))
        return [
            GenerateWork(
                request=replace(
                    self._request,
                    context=Context(messages=(("user", question.prompt),)),
                    n=question.n,
                ),
                seeds=[next(seeds) for _ in range(question.n)],
                indices=range(question.n),
                problem=_NOBODY,
            )
            for question in one.questions
        ]

    async def _generate(self, items: Sequence[GenerateWork]) -> list[Outcome]:
        """One outcome per item, in calls of the size and number that the generator takes.

        Raises:
            GeneratorError: no call was served; where some were, the others' draws have failed.
        """
        calls: list[list[GenerateWork]] = []
        room = 0
        for item in items:
            if len(item.seeds) > room:
                calls.append([])
                room = self._generator.max_batch
            calls[-1].append(item)
            room -= len(item.seeds)
        tasks = [asyncio.ensure_future(self._call(call)) for call in calls]
        try:
            replies = await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:  # nothing is asked for a judgement that is given up
                task.cancel()
            raise
        errors = [reply for reply in replies if isinstance(reply, GeneratorError)]
        if errors and len(errors) == len(replies):
            raise errors[0]
        found: list[Outcome] = []
        for call, reply in zip(calls, replies, strict=True):
            if isinstance(reply, GeneratorError):
                found += [_failed(item, str(reply)) for item in call]
            else:
                found += reply
        return found

    async def _call(self, items: Sequence[GenerateWork]) -> Sequence[Outcome] | GeneratorError:
        loop = asyncio.get_running_loop()
        if self._gate is None or self._gate[0] is not loop:  # a semaphore belongs to one loop
            self._gate = loop, asyncio.Semaphore(self._generator.concurrency)
        async with self._gate[1]:
            try:
                return await self._generator.generate(items)
            except GeneratorError as error:
                return error

    def _file(self, one: _Judgement, draws: list[Draw], attempts: list[Attempt]) -> None:
        """Put a judgement's scores, costs and failures where they belong."""
        if not one.questions and one.verdict is None:
            return
        verdict = one.verdict or Verdict([])
        written = [draw for outcome in one.outcomes for draw in outcome.draws]
        failed = [draw for draw in written if draw.status == "failed"]
        for n, place in enumerate(one.places):
            if written and len(failed) == len(written):
                draws[place] = Draw(status="failed", value=NOT_VERIFIED, text=failed[0].text)
            else:
                draws[place] = Draw(value=verdict.scores[n], text=verdict.notes[n])
        first = one.places[0]
        add_costs(draws[first], one.outcomes, self._generator)
        attempts += [as_verifier(a, first) for outcome in one.outcomes for a in outcome.attempts]
        lost = ["verdict unreadable"] * verdict.unreadable
        lost += [f"verdict failed: {draw.text}" for draw in failed]
        attempts += [Attempt(outcome=why, usage=Usage(), index=first) for why in lost]


def _num_bytes(item: GenerateWork) -> int:
    messages = item.request.context.messages
    return sum(len(text.encode("utf-8", "replace")) for _, text in messages)


#: Tokens that a chat's template puts around one message, at most.
_TEMPLATE_TOKENS = 64
#: What the judge's own draws are charged to: the verification is charged as a whole.
_NOBODY = Problem(id="", prompt="")


def _check(kind: str, scale: str, counts: Mapping[str, int | None]) -> None:
    for name, value, known in (("kind", kind, tuple(TEMPLATES)), ("scale", scale, _SCALES)):
        if value not in known:
            raise UsageError(
                f"`{name}` of a judge must be one of {', '.join(known)}, but got {value!r}. "
                "Choose one of those."
            )
    for name, count in counts.items():
        if count is not None and count < 1:
            raise UsageError(f"`{name}` must be at least 1, but got {name}={count}. Raise it.")


_SCALES: tuple[str, ...] = ("ten", "yes_no")


def _count(item: VerifyWork) -> int:
    """How many draws a work item makes; a group is asked once at least."""
    if item.mode != "group":
        return len(item.seeds)
    size = len(item.candidates)
    return size * max(1, len(item.seeds) // max(1, size))


def _blank() -> Draw:
    return Draw(value=NOT_VERIFIED)


def _eight_bytes(seed: int) -> bytes:
    return (seed & 0xFFFF_FFFF_FFFF_FFFF).to_bytes(8, "little")


def _failed(item: GenerateWork, reason: str) -> Outcome:
    return Outcome([Draw(status="failed", text=reason) for _ in item.seeds])
