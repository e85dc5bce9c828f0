"""A replay in progress: recordings, what is asked of them, and the panels that follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from dwell.curves import Panel
from dwell.errors import UsageError
from dwell.metrics import Resamples, resample_problems
from dwell.recordings import Recorded, Recording, problems_of, read_recordings
from dwell.records import Problem
from dwell.replays.asking import ALL, EACH, Asked, checked_budgets
from dwell.replays.dispatch import Settings, curves_of
from dwell.replays.runs import MeanOverRuns, depth, depths
from dwell.study import STUDY
from dwell.study_recording import recordings_of

Source = str | Path | Recorded | Recording | Sequence[Recording]


@dataclass(slots=True)
class Replay:
    """A replay in progress: what is asked of which recordings, and what had to be left out.

    Attributes:
        recordings: one a run.
        wanted: what is asked.
        settings: how.
        names: what each run is called.
        universes: all questions of each dataset, and the resamples that its runs share.
        left_out: strategies that some runs (not all) lack the columns for, with the reason.
    """

    recordings: Sequence[Recording]
    wanted: Sequence[Asked]
    settings: Settings
    left_out: list[dict[str, str]] = field(default_factory=list)
    names: list[str] = field(init=False)
    universes: Mapping[str, tuple[list[Problem], Resamples]] = field(init=False)

    def __post_init__(self) -> None:
        self.names = names_of(self.recordings)
        self.universes = _universes(self.recordings, self.settings)
        self._check()

    def panels(self, watch: Callable[[float], None] = lambda done: None) -> Iterator[Panel]:
        """One panel a recording, made when asked for; `watch` is told how many are done."""
        for place, recording in enumerate(self.recordings):
            yield self.panel(place, recording, partial(_added, watch, place))
            watch(place + 1)

    def panel(
        self, place: int, recording: Recording, tick: Callable[[float], None] = lambda share: None
    ) -> Panel:
        """All curves of one recording, on the resamples that its dataset shares."""
        problems, resamples = self.universes[recording.dataset]
        index = {problem.id: i for i, problem in enumerate(problems)}
        rows = np.array([index[question] for question in recording.questions])
        own = Resamples(weights=resamples.weights[:, rows], clusters=np.arange(len(rows)))
        possible = self._possible(recording, self.names[place])
        curves = curves_of(recording, possible, self.settings, model=self.names[place],
                           tick=tick)  # fmt: skip
        return Panel(self.names[place], recording.dataset, problems_of(recording), own, curves)

    def means(self) -> list[MeanOverRuns]:
        """Empty means over the runs of each dataset, for some numbers of draws that they have."""
        found = []
        for task, (problems, resamples) in self.universes.items():
            own = [r for r in self.recordings if r.dataset == task]
            chosen = depths(own, len(problems)) if len(own) > 1 else []
            for draws in chosen:
                unit = "turns" if own[0].turns is not None else "draws"
                name = "mean over {runs} runs"
                name += f" with {draws} {unit} or more" if len(chosen) > 1 else ""
                found.append(MeanOverRuns(task, problems, resamples, draws=draws, name=name))
        return found

    def count(self, panel: Panel, means: Sequence[MeanOverRuns]) -> None:
        """Add a panel to the means that it belongs to."""
        recording = next(
            r
            for r, name in zip(self.recordings, self.names, strict=True)
            if (r.dataset, name) == (panel.task, panel.model)
        )
        for mean in means:
            if mean.task == panel.task and depth(recording, len(mean.problems)) >= mean.draws:
                mean.add(panel)

    def _check(self) -> None:
        """Refuse what no recording can serve, before anything is computed."""
        for one in self.wanted:
            refusals = [error for r in self.recordings if (error := _refusal(one, r))]
            if len(refusals) == len(self.recordings):
                raise refusals[0]
        if self.settings.budgets not in (None, ALL, EACH):
            assert self.settings.budgets is not None
            least = min(checked_budgets(self.settings.budgets))
            most = max(recording.most_draws for recording in self.recordings)
            if least > most:
                raise UsageError(
                    f"A budget must not exceed the draws recorded, but got {least} and at most "
                    f"{most} draws of a question. Ask for smaller budgets."
                )

    def _possible(self, recording: Recording, name: str) -> list[Asked]:
        possible = []
        for one in self.wanted:
            if (error := _refusal(one, recording)) is None:
                possible.append(one.on(recording))
            else:
                entry = {"model": name, "strategy": one.label, "why": str(error)}
                if entry not in self.left_out:
                    self.left_out.append(entry)
        return possible


def opened(source: Source) -> Recorded:
    """The recordings of a source; those given are taken as they are."""
    if isinstance(source, Recorded):
        return source
    if isinstance(source, Recording):
        return Recorded(path=source.run, recordings=(source,))
    if isinstance(source, str | Path):
        path = Path(source)
        return recordings_of(path) if (path / STUDY).exists() else read_recordings(path)
    return Recorded(path="recordings", recordings=tuple(source))


def names_of(recordings: Sequence[Recording]) -> list[str]:
    """What each run is called: its model, with the run's id where a model has several."""
    models = [(recording.dataset, recording.model) for recording in recordings]
    return [
        recording.model
        if models.count(model) == 1
        else recording.run
        if recording.model in recording.run
        else f"{recording.model} ({recording.run})"
        for recording, model in zip(recordings, models, strict=True)
    ]


def _added(watch: Callable[[float], None], whole: int, share: float) -> None:
    watch(whole + share)


def _refusal(one: Asked, recording: Recording) -> UsageError | None:
    try:
        one.on(recording)
    except UsageError as error:
        return error
    return None


def _universes(
    recordings: Sequence[Recording], settings: Settings
) -> dict[str, tuple[list[Problem], Resamples]]:
    """All questions of each dataset, with one set of resamples for all its runs."""
    found: dict[str, dict[str, Problem]] = {}
    for recording in recordings:
        questions = found.setdefault(recording.dataset, {})
        for problem in problems_of(recording):
            questions.setdefault(problem.id, problem)
    return {
        dataset: (
            list(questions.values()),
            resample_problems(
                len(questions), num_resamples=settings.num_resamples, seed=settings.seed
            ),
        )
        for dataset, questions in found.items()
    }
