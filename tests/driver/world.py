"""What the tests of the driver share: strategies from functions, restless generators, one run.

`Plays` makes a strategy of a plain generator function; `Restless` answers its calls in an order
that a private seed decides, and notes every draw it makes; `drive` makes one run.
"""

import asyncio
from dataclasses import dataclass, field

import numpy as np

from dwell.driver import Driver, RunPlan
from dwell.generators import Scripted
from dwell.ledger import Ledger
from dwell.protocols import Outcome, Strategy
from dwell.records import Context, Draw, Problem
from dwell.requests import Generate

PROBLEM = Problem(id="p", prompt="Q", reference="1")
CONTEXT = PROBLEM.context()


def ask(n=1, **options):
    """A request for whole answers to the test's problem."""
    return Generate(options.pop("context", CONTEXT), n=n, **options)


def about(text):
    """A context of its own."""
    return Context(messages=(("user", text),))


@dataclass(frozen=True)
class Plays(Strategy):
    """A strategy that plays a generator function."""

    name = "plays"

    fn: object
    label: str = "x"

    def params(self):
        return {"label": self.label}

    def solve(self, problem, rng):
        return self.fn(problem, rng)


def numbered(**options):
    """A generator whose text tells the context and the draw's index: "Q#0", "Q#1" ..."""
    return Scripted.from_function(
        lambda context, index, rng: f"{context.messages[-1][1]}{context.partial}#{index}",
        name="numbered",
        **options,
    )


class Restless:
    """Another generator's draws; its calls end in an order that a private seed decides."""

    def __init__(self, inner, seed=0, *, max_batch=1, concurrency=64, patience=6):
        self.inner, self.rng, self.patience = inner, np.random.default_rng(seed), patience
        self.max_batch, self.concurrency = max_batch, concurrency
        self.made = []
        self.calls = 0

    def __getattr__(self, name):
        return getattr(self.inner, name)

    async def generate(self, work):
        self.calls += 1
        for _ in range(int(self.rng.integers(0, self.patience))):
            await asyncio.sleep(0)
        outcomes = await self.inner.generate(work)
        for item in work:
            self.made += [(item.request.context, i) for i in item.indices]
        return outcomes


class Fails(Restless):
    """A generator that raises for some contexts."""

    def __init__(self, inner, error, bad="bad"):
        super().__init__(inner)
        self.error, self.bad = error, bad

    async def generate(self, work):
        if any(self.bad in item.request.context.messages[-1][1] for item in work):
            raise self.error
        return await super().generate(work)


@dataclass
class Lengths:
    """A verifier: the score is the length of the added text; it counts what it was sent."""

    name: str = "process"
    fingerprint: str = "lengths"
    wants: frozenset = frozenset()
    derived: bool = False
    oracle: bool = False
    max_batch: int = 8
    concurrency: int = 4
    tokens: int = 3
    seconds: float = 0.0
    sent: list = field(default_factory=list)

    async def score(self, work):
        self.sent += work
        return [Outcome(self._draws(item)) for item in work]

    def _draws(self, item):
        group = item.candidates * (len(item.seeds) // len(item.candidates))
        return [
            Draw(value=float(len(c.added)), output_tokens=self.tokens, seconds=self.seconds)
            for c in group
        ]


def drive(fn, *, generator=None, ledger=None, limits=None, problem=PROBLEM, name="r", **options):
    """The session of one run of a generator function."""
    return drive_all(
        {name: fn}, generator=generator, ledger=ledger, limits=limits, problem=problem, **options
    )[name]


def drive_all(fns, *, generator=None, ledger=None, limits=None, problem=PROBLEM, **options):
    """Sessions by name of runs made together; a function is played, a strategy run as it is."""
    plans = [
        RunPlan(
            name=name,
            strategy=fn if isinstance(fn, Strategy) else Plays(fn),
            problem=problem,
            limits=limits or {},
        )
        for name, fn in fns.items()
    ]
    return drive_plans(plans, generator=generator, ledger=ledger, **options)


def drive_plans(plans, *, generator=None, ledger=None, **options):
    """Sessions by name of whole plans."""
    own = ledger is None
    ledger = Ledger(":memory:") if own else ledger
    sessions = {}
    generators = options.pop("generators", None) or {"solver": generator or numbered()}
    driver = Driver(
        ledger,
        generators=generators,
        on_done=lambda session: sessions.__setitem__(session.name, session),
        **options,
    )
    try:
        asyncio.run(driver.run(plans))
    finally:
        if own:
            ledger.close()
    return sessions


def texts(candidates):
    """What candidates added."""
    return [candidate.added for candidate in candidates]


def table(ledger, name, columns="*"):
    """All rows of a table."""
    return ledger._db.execute(f"SELECT {columns} FROM {name}").fetchall()
