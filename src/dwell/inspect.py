"""A strategy or a plan as a solver of Inspect: it answers where `generate()` would.

    from dwell.inspect import dwell_solver

    Task(dataset=..., solver=dwell_solver("majority:n=8", ledger="runs/mine"), scorer=match())

The evaluated model makes the draws, a ledger keeps them, and the account of each answer (draws,
votes, confidence, what was charged) stands in the sample's metadata under `dwell`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from dwell.errors import MissingExtraError, UsageError
from dwell.generators.registry import weak_scorer
from dwell.hosted_study import HostedStudy, HostedTask, Ran, limits_of
from dwell.inspect_model import Habits, InspectModel, as_pairs
from dwell.protocols import Strategy, Verifier
from dwell.records import Problem
from dwell.strategies import parse
from dwell.verifiers import VERIFIERS, Judge, make_verifier

try:
    from inspect_ai.model import (
        ChatCompletionChoice,
        GenerateConfig,
        ModelOutput,
        ModelUsage,
        StopReason,
        execute_tools,
        get_model,
    )
    from inspect_ai.solver import Generate, Solver, TaskState, solver
except ImportError as error:
    raise MissingExtraError("`dwell.inspect`", "inspect_ai", "inspect") from error

#: The studies of this process, by folder: samples and tasks at work together share one.
_STUDIES: dict[tuple[Path, int], HostedStudy] = {}


@solver
def dwell_solver(
    strategy: str | Strategy = "majority:n=8",
    *,
    ledger: str | None = None,
    checker: str = "vote",
    name: str = "inspect",
    samples: int | None = None,
    tokens: int | None = None,
    usd: float | None = None,
    seed: int = 0,
    around: Solver | None = None,
    judges: Mapping[str, Mapping[str, Any]] | None = None,
    num_choices: bool | None = None,
) -> Solver:
    """A solver that answers by a test-time-compute strategy on the evaluated model.

    Args:
        strategy: as on the command line, ``majority:n=8`` or ``plan:plan.json``, or a strategy.
        ledger: folder to remember draws in; a second evaluation, or another strategy, takes from
            there what it can. `dwell show`, `replay`, `plan` and `report` read it. None = nothing
            is kept.
        checker: how answers are read and compared, as in a task file: "vote" (as `dwell serve`
            does), "exact", "number", "maths", "choice" or "regex:PATTERN".
        name: of the task in that folder.
        samples: at most so many draws a question.
        tokens: at most so many output tokens a question.
        usd: at most so many dollars a question; Inspect has to know the model's prices.
        seed: decides streams and all randomness; an epoch is a stream.
        around: a solver that calls `generate`, such as `multiple_choice()`: its calls are answered
            by the strategy. None = answer the messages as they are.
        judges: verifiers of the strategy that ask a model: name -> arguments of
            `dwell.verifiers.Judge`. The model role of that name judges, else the evaluated model.
        num_choices: ask for several answers in one call; None = where the provider makes them.

    Raises:
        UsageError: an unknown strategy, checker or verifier, or one that cannot be run here.
    """
    chosen = parse(strategy) if isinstance(strategy, str) else strategy
    if not isinstance(chosen, Strategy):
        raise UsageError(f"`strategy` must be one or its name, but got {strategy!r}.")
    if not isinstance(seed, int) or seed < 0:
        raise UsageError(f"`seed` must be a whole number of at least 0, but got {seed!r}.")
    task = HostedTask(str(name), str(checker))
    known = limits_of(samples=samples, tokens=tokens, usd=usd)
    if unknown := sorted(chosen.verifiers() - set(VERIFIERS) - set(judges or {})):
        raise UsageError(
            f"A strategy's verifiers must be known, but got {', '.join(unknown)}. Name one of "
            f"{', '.join(VERIFIERS)}, or describe it in `judges`."
        )

    habits: dict[str, Habits] = {}

    async def answer(
        state: TaskState,
        tool_calls: str = "loop",
        cache: Any = None,
        **options: Any,
    ) -> TaskState:
        """What Inspect's own `generate` does, with the strategy in the place of one call."""
        study, config = _study(ledger, seed), GenerateConfig(**options)
        while True:
            asked = get_model()
            model = InspectModel(
                asked, config, prompt=state.messages, tools=state.tools,
                tool_choice=state.tool_choice, num_choices=num_choices,
                habits=habits.setdefault(str(asked), Habits()),
            )  # fmt: skip
            if "partial" in chosen.needs:
                await model.find_continuation()
            ran = await study.solve(
                _problem(state, task), chosen, model, task,
                verifiers=_verifiers(chosen, judges or {}), limits=known,
                repetition=state.epoch - 1,
            )  # fmt: skip
            _write(state, ran, model)
            if state.completed or tool_calls == "none" or not state.output.message.tool_calls:
                return state
            messages, output = await execute_tools(state.messages, state.tools)
            state.messages.extend(messages)
            state.output = output or state.output
            if state.completed or tool_calls == "single":
                return state

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        _check_loop()
        return await (answer(state) if around is None else around(state, answer))

    return solve


def _check_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError as error:
        raise UsageError(
            "dwell runs on asyncio, but Inspect was told to run on another loop. Leave "
            "INSPECT_ASYNC_BACKEND out, or set it to asyncio."
        ) from error


def _study(folder: str | None, seed: int) -> HostedStudy:
    if folder is None:
        return HostedStudy(None, seed=seed)
    place = Path(folder).resolve(), seed
    return _STUDIES.setdefault(place, HostedStudy(place[0], seed=seed))


def _problem(state: TaskState, task: HostedTask) -> Problem:
    """A sample as a problem, named after its id and its content; it knows a single target."""
    pairs = as_pairs(state.messages)
    digest = blake2b(repr(pairs).encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    targets = list(state.target)
    known = targets[0] if len(targets) == 1 and targets[0].strip() else None
    return Problem(
        id=f"{task.name}/{state.sample_id}-{digest}",
        prompt=next((text for role, text in reversed(pairs) if role == "user"), ""),
        task=task.name,
        reference=None if known is None else task.reference(known),
        messages=pairs,
    )


def _verifiers(strategy: Strategy, judges: Mapping[str, Mapping[str, Any]]) -> dict[str, Verifier]:
    return {
        name: Judge(InspectModel(get_model(role=name)), name=name, **judges[name])
        if name in judges
        else make_verifier(name, scorer=weak_scorer)
        for name in sorted(strategy.verifiers())
    }


def _write(state: TaskState, ran: Ran, model: InspectModel) -> None:
    """Put the chosen completion and the account of it into the sample's state."""
    message, used = model.message_of(ran.chosen), ran.charged
    prompt, output = int(used.prompt_tokens), int(used.output_tokens)
    halt: StopReason = "max_tokens" if ran.chosen.status == "cap" else "stop"
    state.output = ModelOutput(
        model=str(state.model),
        choices=[
            ChatCompletionChoice(
                message=message, stop_reason="tool_calls" if message.tool_calls else halt
            )
        ],
        usage=ModelUsage(input_tokens=prompt, output_tokens=output, total_tokens=prompt + output),
    )
    state.messages.append(message)
    before = state.metadata.get("dwell")
    account = ran.account()
    state.metadata["dwell"] = account if before is None else {**account, "before": before}
