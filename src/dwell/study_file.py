"""The study file: what to run, as TOML or as flags, checked before anything runs.

title = "..."                    # optional
seed = 0                         # decides streams and all randomness
streams = 1                      # independent repetitions
budgets = [1, 4, 16, 64]         # values of each strategy's scale parameter

[[models]]
name = "tiny-0.8m"               # or "openai:NAME" with base_url, or "transformers:FOLDER"

[[tasks]]
name = "chain"
problems = 100
levels = [3, 4, 5]               # optional

[[tasks]]                        # or problems of your own, see docs/problems.md
name = "mine"
file = "problems.jsonl"          # beside the study file
checker = "maths"                # of rows that name none
template = "{question}"          # optional, instead of a column `prompt`
sandbox = { memory_mb = 1024 }   # optional: what a program may use, with the checker "code"

[[strategies]]
name = "best_of_n"               # further keys are its parameters
verifier = "process"             # or the name of one of the study's judges
budgets = [1, 4]                 # optional, instead of the study's

[[judges]]                       # optional: verifiers that ask a model
name = "strict"
model = "openai:NAME"            # with base_url and the other keys of a model
kind = "pointwise"               # or "critique", "pairwise", "group"

[[verifiers]]                    # optional: reward models that torch runs
name = "prm"
model = "transformers:FOLDER"    # with `form`, `aggregate` and so on, see docs/local_models.md
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dwell.budget import check_limits
from dwell.errors import UsageError
from dwell.protocols import Strategy
from dwell.sandbox.records import MIB, Limits
from dwell.strategies import kind_of, make, parse
from dwell.verifiers import VERIFIERS
from dwell.verifiers.judge import COMPARING
from dwell.verifiers.judge_prompts import TEMPLATES, Kind, Scale, check_template

DEFAULT_BUDGETS = (1, 2, 4, 8, 16, 32, 64)


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


#: Keys of a model beside its name, by the word before its name's colon.
_OPTIONS = {
    "coin": set[str](),
    "openai": {
        "temperature", "max_tokens", "base_url", "api", "concurrency", "continuation",
        "shared_prefix", "requests_per_minute", "tokens_per_minute", "timeout_seconds",
        "hedge_seconds", "usd_per_million_prompt_tokens", "usd_per_million_cached_tokens",
        "usd_per_million_output_tokens", "step_delimiter", "extra_body",
    },
    "transformers": {
        "temperature", "max_tokens", "top_p", "top_k", "batch", "device", "dtype",
        "step_delimiter", "closing",
    },
}  # fmt: skip


#: Keys of an embedded model, whose name has no such word.
_EMBEDDED = {"temperature", "max_tokens"}


def _own_keys(model: str) -> set[str]:
    """The keys that a model of this name takes."""
    word, colon, _ = model.partition(":")
    return _OPTIONS.get(word, _EMBEDDED) if colon else _EMBEDDED


class ModelSpec(_Table):
    """One model: embedded, a folder of such, a scripted coin, an endpoint's, or torch's."""

    name: str
    base_url: str | None = None
    api: Literal["chat", "completions"] = "chat"
    temperature: float | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    concurrency: int | None = Field(default=None, ge=1)
    continuation: Literal["flags", "prefill"] | None = None
    shared_prefix: bool | None = None
    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0)
    timeout_seconds: float | None = Field(default=None, gt=0)
    hedge_seconds: float | None = Field(default=None, gt=0)
    usd_per_million_prompt_tokens: float | None = Field(default=None, ge=0)
    usd_per_million_cached_tokens: float | None = Field(default=None, ge=0)
    usd_per_million_output_tokens: float | None = Field(default=None, ge=0)

    extra_body: dict[str, Any] | None = None
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=0)
    batch: int | None = Field(default=None, ge=1)
    device: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    step_delimiter: str | None = Field(default=None, min_length=1)
    closing: tuple[str, ...] | None = None

    def model_options(self) -> dict[str, Any]:
        """What its class takes beside its address, as keywords; None = the class's default."""
        return self.model_dump(include=_own_keys(self.name) - {"base_url"})


class JudgeSpec(ModelSpec):
    """A verifier of the study's own: a model that judges, with the keys of a model."""

    model: str
    kind: Kind = "pointwise"
    scale: Scale = "ten"
    votes: int | None = Field(default=None, ge=1)
    max_pairs: int | None = Field(default=None, ge=1)
    criteria: str = ""
    template: str | None = None
    use_logprobs: bool = True

    def as_model(self) -> ModelSpec:
        """The model that judges."""
        values = self.model_dump(include=set(ModelSpec.model_fields) - {"name"})
        return ModelSpec(name=self.model, **values)

    def options(self) -> dict[str, Any]:
        """What `dwell.verifiers.Judge` takes beside its generator, as keywords."""
        return self.model_dump(exclude={"model", *ModelSpec.model_fields} - {"name"})


class SandboxSpec(_Table):
    """What a program that is an answer may use, where `dwell.sandbox.Limits` do not fit."""

    cpu_seconds: float = Field(default=Limits().cpu_seconds, gt=0)
    wall_seconds: float | None = Field(default=None, gt=0)
    memory_mb: int = Field(default=Limits().memory_bytes // MIB, ge=64)
    disk_mb: int = Field(default=Limits().disk_bytes // MIB, ge=1)
    processes: int = Field(default=Limits().processes, ge=1)

    def limits(self) -> Limits:
        """The limits; a program may wait for twice its processor time, unless told otherwise."""
        return Limits(
            cpu_seconds=self.cpu_seconds,
            wall_seconds=self.wall_seconds or 2 * self.cpu_seconds,
            memory_bytes=self.memory_mb * MIB,
            disk_bytes=self.disk_mb * MIB,
            processes=self.processes,
        )


class VerifierSpec(_Table):
    """A reward model that torch runs, under a name of the study's own."""

    name: str
    model: str = Field(pattern=r"^transformers:.")
    form: Literal["tag", "steps", "outcome"] | None = None
    aggregate: Literal["last", "min", "prod", "mean"] = "last"
    step_delimiter: str | None = Field(default=None, min_length=1)
    separator: str | None = Field(default=None, min_length=1)
    chat: bool | None = None
    device: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] | None = None

    def options(self) -> dict[str, Any]:
        """What it is made with beside its model, as keywords."""
        return self.model_dump(exclude={"model"}, exclude_none=True)


class TaskSpec(_Table):
    """Problems of one built-in task family, or of a file.

    Attributes:
        problems: how many; None = 100 of a family, all of a file.
    """

    name: str
    problems: int | None = Field(default=None, ge=1)
    file: str | None = None
    checker: str | None = None
    template: str | None = None
    sandbox: SandboxSpec = SandboxSpec()
    levels: tuple[int, ...] | None = None
    split: Literal["test", "validation", "train"] = "test"
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _of_one_kind(self) -> TaskSpec:
        """Refuse keys of the other kind of task: they would do nothing."""
        mine, of_family = ("checker", "template", "sandbox"), ("levels", "split", "seed")
        other = mine if self.file is None else of_family
        fields = type(self).model_fields
        wrong = [key for key in other if getattr(self, key) != fields[key].default]
        if wrong:
            need = "with a" if self.file is None else "without a"
            raise ValueError(f"`{wrong[0]}` is for tasks {need} `file`; {self.name!r} is not one")
        return self


class StrategySpec(BaseModel):
    """One strategy, its parameters, and its own budgets where the study's do not fit."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    budgets: tuple[int, ...] | None = None

    def at(self, budget: int) -> Strategy:
        """The strategy with its scale parameter set to a budget."""
        params = dict(self.model_extra or {})
        params[kind_of(self.name).scale] = budget
        return make(self.name, **params)


class OwnVerifiers(_Table):
    """Verifiers that a file describes: judges, and reward models that torch runs."""

    judges: tuple[JudgeSpec, ...] = ()
    verifiers: tuple[VerifierSpec, ...] = ()


class StudySpec(_Table):
    """A whole study; see the module's docstring for the file."""

    title: str = "study"
    seed: int = Field(default=0, ge=0)
    streams: int = Field(default=1, ge=1)
    budgets: tuple[int, ...] = DEFAULT_BUDGETS
    order: Literal["issued", "finished"] = "issued"
    limits: dict[str, float] = Field(default_factory=dict)
    spend_limits: dict[str, float] = Field(default_factory=dict)
    models: tuple[ModelSpec, ...] = Field(min_length=1)
    tasks: tuple[TaskSpec, ...] = Field(min_length=1)
    strategies: tuple[StrategySpec, ...] = Field(min_length=1)
    judges: tuple[JudgeSpec, ...] = ()
    verifiers: tuple[VerifierSpec, ...] = ()

    def budgets_of(self, spec: StrategySpec) -> tuple[int, ...]:
        """The budgets at which a strategy runs, ascending."""
        return tuple(sorted(set(spec.budgets if spec.budgets is not None else self.budgets)))

    def strategies_at(self) -> list[tuple[StrategySpec, int, Strategy]]:
        """(spec, budget, strategy) of every point of every curve.

        Raises:
            UsageError: an unknown strategy or parameter, or a budget that it does not take.
        """
        return [
            (spec, budget, spec.at(budget))
            for spec in self.strategies
            for budget in self.budgets_of(spec)
        ]


def read_study(path: Path) -> StudySpec:
    """The study in a TOML file.

    Raises:
        UsageError: no such file, broken TOML, an unknown key or a value out of range.
    """
    spec = parse_study(_text_of(path), str(path))
    return spec.model_copy(update={"tasks": tuple(_beside(path, task) for task in spec.tasks)})


def read_verifiers(path: Path) -> OwnVerifiers:
    """The judges and verifiers in a TOML file, such as a study's; other tables are left alone.

    Raises:
        UsageError: as `read_study`, or there is none.
    """
    table = _table_of(_text_of(path), str(path))
    try:
        found = OwnVerifiers(**{k: table[k] for k in OwnVerifiers.model_fields if k in table})
    except ValidationError as error:
        raise _bad_form(error, str(path)) from error
    if not (found.judges or found.verifiers):
        raise UsageError(
            f"A file of verifiers must have a table [[judges]] or [[verifiers]], but {path} has "
            "none. Add one; `dwell run --help` shows the form."
        )
    _check_own(found.judges, found.verifiers)
    return found


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise UsageError(
            f"A study file must be readable, but {path} is not ({reason}). "
            "Name an existing TOML file; `dwell run --help` shows one."
        ) from error


def _table_of(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            f"A study file must be TOML, but {name} is not: {error}. Mend that line."
        ) from error


def _bad_form(error: ValidationError, name: str) -> UsageError:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return UsageError(
        f"A study file must follow its form, but {name} does not at `{where}`: "
        f"{first['msg'].lower()}. `dwell run --help` shows the form."
    )


def _beside(path: Path, task: TaskSpec) -> TaskSpec:
    """A task whose file is looked for in the study file's folder."""
    if task.file is None:
        return task
    return task.model_copy(update={"file": str((path.parent / task.file).resolve())})


def parse_study(text: str, name: str = "study") -> StudySpec:
    """The study in TOML text.

    Raises:
        UsageError: as `read_study`.
    """
    return check_study(_table_of(text, name), name)


def check_study(table: dict[str, Any], name: str = "study") -> StudySpec:
    """The study in a parsed table; strategies are built once, so that all errors come first.

    Raises:
        UsageError: as `read_study`.
    """
    try:
        spec = StudySpec(**table)
    except ValidationError as error:
        raise _bad_form(error, name) from error
    spec.strategies_at()
    _check_keys(spec.models)
    _check_judges(spec)
    for limits in (spec.limits, spec.spend_limits):
        check_limits(limits)
        _check_room(limits)
    return spec


def _check_keys(models: Sequence[ModelSpec]) -> None:
    """Refuse keys of another kind of model: they would do nothing."""
    for model in models:
        taken = _own_keys(model.name)
        given = model.model_dump(exclude={"name"}, exclude_defaults=True)
        wrong = [key for key in given if key not in taken]
        if wrong:
            kind = model.name.partition(":")[0] if taken is not _EMBEDDED else "embedded"
            keys = ", ".join(sorted(taken)) or "no key but its name"
            raise UsageError(
                f"A model takes the keys of its kind, but {model.name} was given `{wrong[0]}`: a "
                f"model of the kind {kind} takes {keys}. Leave it out."
            )


def _check_own(judges: Sequence[JudgeSpec], verifiers: Sequence[VerifierSpec]) -> None:
    """Verifiers have names of their own, and judges templates with every place."""
    _check_own_names([*(j.name for j in judges), *(v.name for v in verifiers)])
    _check_keys([judge.as_model() for judge in judges])
    for judge in judges:
        check_template(judge.kind, judge.template or TEMPLATES[judge.kind])


def _check_own_names(names: Sequence[str]) -> None:
    for name in names:
        if name in VERIFIERS or names.count(name) > 1:
            raise UsageError(
                f"A judge or verifier must have a name of its own, but got {name!r} twice or as "
                f"the name of a built-in verifier ({', '.join(VERIFIERS)}). Choose another name."
            )


def _check_judges(spec: StudySpec) -> None:
    """Judges that compare are asked about groups."""
    _check_own(spec.judges, spec.verifiers)
    comparing = {judge.name for judge in spec.judges if judge.kind in COMPARING}
    for _, _, strategy in spec.strategies_at():
        asked = strategy.verifiers() & comparing
        if asked and getattr(strategy, "mode", None) != "group":
            raise UsageError(
                f"The judge {min(asked)} compares answers with each other, so a strategy must ask "
                f'it about groups, but {strategy.name} does not. Set mode = "group" on best_of_n '
                "or weighted_majority, or make the judge pointwise."
            )


def _check_room(limits: Mapping[str, float]) -> None:
    """A limit below one draw would leave every problem without an answer."""
    for kind in ("calls", "output_tokens"):
        if limits.get(kind, 1) < 1:
            raise UsageError(
                f"A limit must leave room for one draw, but got {kind}={limits[kind]:g}. Raise it."
            )


def study_from_flags(
    models: Sequence[str],
    tasks: Sequence[str],
    strategies: Sequence[str],
    budgets: Sequence[int],
    *,
    base_url: str | None = None,
    seed: int = 0,
    streams: int = 1,
) -> StudySpec:
    """A study from command-line words: ``chain:200``, ``best_of_n:verifier=process``.

    Raises:
        UsageError: a word that is not of this form.
    """
    table: dict[str, Any] = {
        "title": "study from flags",
        "seed": seed,
        "streams": streams,
        "models": [
            # Only endpoints have an address; a study may compare them with embedded models.
            {"name": name, "base_url": base_url if name.startswith("openai:") else None}
            for name in models
        ],
        "tasks": [_task_word(word) for word in tasks],
        "strategies": [_strategy_word(word) for word in strategies],
    }
    if budgets:
        table["budgets"] = list(budgets)
    return check_study(table, "the command line")


def _task_word(word: str) -> dict[str, Any]:
    name, colon, count = word.partition(":")
    if name == "file":
        return _file_word(count)
    if not colon:
        return {"name": name}
    if not count.isdigit():
        raise UsageError(
            f"A task is written as NAME or NAME:PROBLEMS, but got {word!r}. "
            "Write for example chain:100."
        )
    return {"name": name, "problems": int(count)}


def _file_word(word: str) -> dict[str, Any]:
    """A task file: ``PATH,checker=NAME,problems=COUNT``."""
    path, *settings = word.split(",")
    given = dict(setting.partition("=")[::2] for setting in settings)
    if not path or not set(given) <= {"checker", "problems"} or not all(given.values()):
        raise UsageError(
            f"A task file is written as file:PATH,checker=NAME,problems=COUNT, but got {word!r}. "
            "Leave out what is not needed."
        )
    return {"name": Path(path).stem, "file": str(Path(path).resolve()), **given}


def _strategy_word(word: str) -> dict[str, Any]:
    strategy = parse(word)
    # A plan's file may be written without its name, and is never left out.
    given = {k: v for k, v in strategy.params().items() if f"{k}=" in word or k == "file"}
    if strategy.scale in given:
        given["budgets"] = [given.pop(strategy.scale)]
    return {"name": strategy.name, **given}
