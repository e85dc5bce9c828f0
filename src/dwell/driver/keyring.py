"""Which draws a request means: keys in use, and their recorded draws in memory.

A key's draws are read from the ledger when first asked for, shared by every run that asks the
same, and forgotten when not used for long (they stay in the ledger).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dwell.driver.session import Session
from dwell.driver.threads import Unit
from dwell.errors import UsageError
from dwell.keys import candidate_subject, context_subject, key_hash, request_params
from dwell.ledger import Ledger
from dwell.protocols import Environment, Generator, Task, Verifier
from dwell.records import Candidate, Context, Draw, Problem, Usage
from dwell.requests import Generate, Perturb, Request, Run, Verify

#: Draws kept in memory so that runs of one problem share them without reading the file.
CACHED_DRAWS = 20_000


class Key:
    """A key in use: its draws in memory, and who waits for the missing ones.

    Attributes:
        hash: names the draws.
        op: "generate", "verify", "perturb" or "run".
        source: the generator, verifier or environment that makes the draws.
        info: (subject, parameters, stream), for the ledger.
        row: the key's row in the ledger, None while it has none.
        recorded: how many draws the ledger held when the key was opened.
        draws: draws in memory, by index.
        bare: indices of recorded draws that lack statistics the study wants.
        waiting: (session, unit, place in the unit) by index of a draw being made.
    """

    __slots__ = (
        "_candidates", "_context", "_costs", "_problem", "_task", "bare", "draws", "hash", "info",
        "op", "recorded", "row", "source", "waiting",
    )  # fmt: skip

    def __init__(self, hash_: bytes, op: str, source: Any, info: tuple[Any, ...]) -> None:
        self.hash, self.op, self.source, self.info = hash_, op, source, info
        self.row: int | None = None
        self.recorded = 0
        self.draws: dict[int, Draw] = {}
        self.bare: set[int] = set()
        self.waiting: dict[int, list[tuple[Session, Unit, int]]] = {}
        self._candidates: dict[int, Candidate] = {}
        self._costs: dict[int, Usage] = {}

    @property
    def derived(self) -> bool:
        """Whether draws are cheap functions of the ledger, and not stored."""
        return bool(getattr(self.source, "derived", False))

    def bind(self, context: Context, problem: Problem, task: Task | None) -> None:
        """Say what a draw of this key becomes."""
        self._context, self._problem, self._task = context, problem, task

    def candidate(self, index: int, draw: Draw) -> Candidate:
        """Draw `index` as the candidate that strategies see."""
        known = self._candidates.get(index)
        if known is None:
            known = self._candidates[index] = self._make(index, draw)
        return known

    def _make(self, index: int, draw: Draw) -> Candidate:
        context, text, answer = self._context, draw.text, None
        if draw.state is not None:
            context = replace(context, state=draw.state)
        if draw.status == "failed":
            text = ""
        elif self._task is None:
            answer = text or None
        else:
            answer = self._task.extract(self._problem, context.partial + text)
        return Candidate(
            context, text, draw.status, answer, index, draw.output_tokens, draw.stats or {}
        )

    def prompt_cost(self, prompt_tokens: int) -> Usage:
        """What a later draw in the same `Generate` shares with the first."""
        known = self._costs.get(prompt_tokens)
        if known is None:
            known = Usage()
            if "shared_prefix" in self.source.provides:
                shared = self.source.shared_prompt(prompt_tokens)
                known = replace(shared, cached_tokens=prompt_tokens)
            self._costs[prompt_tokens] = known
        return known


class Keyring:
    """All keys in use, least recently used first.

    Args:
        ledger: where recorded draws are.
        generators, verifiers, tasks, environments: the study's, by name.
        wants: statistics that every draw must carry.
    """

    def __init__(
        self,
        ledger: Ledger,
        generators: Mapping[str, Generator],
        verifiers: Mapping[str, Verifier],
        tasks: Mapping[str, Task],
        environments: Mapping[str, Environment],
        wants: frozenset[str],
    ) -> None:
        self._ledger, self._wants = ledger, wants
        self._generators, self._verifiers = generators, verifiers
        self._tasks, self._environments = tasks, environments
        self._keys: OrderedDict[bytes, Key] = OrderedDict()
        self._num_cached = 0

    def locate(self, request: Request, problem: Problem, stream: str) -> list[Key]:
        """The keys of a request, found or made.

        Raises:
            UsageError: the request names what the study lacks or its generator cannot do.
        """
        params = (*request_params(request), stream)
        match request:
            case Generate():
                generator = self.generator(request.role)
                check_provided(request, generator)
                self._check_declared(request)
                subject = context_subject(request.context)
                key = self._key("generate", generator, subject, params)
                key.bind(request.context, problem, self._tasks.get(problem.task))
                return [key]
            case Verify():
                verifier = _named(self._verifiers, request.verifier, "verifier")
                return [
                    self._key("verify", verifier, (problem.id, candidate_subject(group)), params)
                    for group in verified_groups(request)
                ]
            case Perturb():
                generator = self.generator(request.role)
                context = request.candidate.context
                lineage = (candidate_subject([request.candidate]), context.state)
                key = self._key("perturb", generator, lineage, params)
                key.bind(context, problem, self._tasks.get(problem.task))
                return [key]
            case Run():
                environment = _named(self._environments, request.environment, "environment")
                subject = (request.action, request.state)
                return [self._key("run", environment, subject, params)]

    def generator(self, role: str) -> Generator:
        """The generator that plays a role."""
        found: Generator = _named(self._generators, role, "generator role")
        return found

    def _check_declared(self, request: Generate) -> None:
        """Refuse statistics that the study did not declare: recorded draws may lack them."""
        if request.want and not request.want <= self._wants:
            raise UsageError(
                "A study declares all statistics that its strategies want, but one asked for "
                f"{', '.join(sorted(request.want - self._wants))}. Add them to the driver's "
                "`wants`."
            )

    def load(self, key: Key, first: int, stop: int) -> None:
        """Read draws ``first <= i < stop`` of a key into memory, if recorded."""
        if key.row is None or first >= key.recorded:
            return
        if all(i in key.draws for i in range(first, min(stop, key.recorded))):
            return
        needed = self._wants if key.op == "generate" else frozenset()
        found = self._ledger.draws(key.row, first, stop, stats=bool(needed))
        for i, draw in found.items():
            if i in key.draws or i in key.waiting:
                continue
            if draw.status == "failed" or needed <= set(draw.stats or ()):
                self.keep(key, i, draw)
            else:
                key.bare.add(i)

    def keep(self, key: Key, i: int, draw: Draw) -> None:
        """Hold a draw in memory."""
        key.draws[i] = draw
        self._num_cached += 1

    def evict(self) -> None:
        """Forget the draws of the keys not used for longest, once there are too many."""
        if self._num_cached <= CACHED_DRAWS:
            return
        for hash_, key in list(self._keys.items()):
            if not key.waiting:
                self._num_cached -= len(key.draws)
                del self._keys[hash_]
            if self._num_cached <= CACHED_DRAWS // 2:
                return

    def _key(self, op: str, source: Any, subject: Any, params: tuple[Any, ...]) -> Key:
        hash_ = key_hash(source.fingerprint, op, subject, params[:-1], params[-1])
        key = self._keys.get(hash_)
        if key is not None:
            self._keys.move_to_end(hash_)
            return key
        key = self._keys[hash_] = Key(hash_, op, source, (subject, params[:-1], params[-1]))
        if not key.derived and (known := self._ledger.find_key(hash_)) is not None:
            key.row, key.recorded = known
        return key


def verified_groups(request: Verify) -> list[tuple[Candidate, ...]]:
    """Candidates that are scored together: all of them, or each alone."""
    if request.mode == "group":
        return [request.candidates]
    return [(candidate,) for candidate in request.candidates]


def check_provided(request: Generate, generator: Generator) -> None:
    """Refuse what a generator cannot do; it is never silently re-prompted.

    Raises:
        UsageError: the generator lacks a capability.
    """
    needed = set(request.want)
    if request.context.partial:
        needed.add("partial")
    if request.until == "step":
        needed.add("step")
    if request.forbid_end:
        needed.add("forbid_end")
    missing = needed - generator.provides
    if missing:
        name = generator.info.get("name", generator.fingerprint)
        raise UsageError(
            f"A generator must provide what is asked of it, but {name} lacks "
            f"{', '.join(sorted(missing))}. Choose another strategy or generator."
        )


def _named(table: Mapping[str, Any], name: str, kind: str) -> Any:
    found = table.get(name)
    if found is None:
        raise UsageError(
            f"A strategy may ask for the {kind}s of its study "
            f"({', '.join(sorted(table)) or 'none'}), but asked for {name!r}. "
            f"Add that {kind} to the study or choose another."
        )
    return found
