"""`dwell run`: make a study's runs, resumable at any moment."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from dwell.commands.console import LiveView
from dwell.errors import UsageError
from dwell.study import Study
from dwell.study_file import StudySpec, read_study, study_from_flags

HELP = """Run a study: every strategy at every budget on every problem.

\b
  dwell run study.toml --out runs/mine
  dwell run --model tiny-0.8m --task chain:100 --strategy majority \\
            --strategy best_of_n:verifier=process --budgets 1,4,16,64 --out runs/mine
  dwell run --task file:problems.jsonl,checker=maths --strategy majority --out runs/mine

Interrupt it whenever you like: the same command goes on where it stopped, and pays for nothing
twice. A study file looks like this:

\b
  seed = 0
  budgets = [1, 4, 16, 64]
  [[models]]
  name = "tiny-0.8m"
  [[tasks]]
  name = "chain"
  problems = 100
  [[strategies]]
  name = "majority"
  [[strategies]]
  name = "best_of_n"
  verifier = "process"
"""


def _numbers(context: click.Context, parameter: click.Parameter, text: str | None) -> list[int]:
    if not text:
        return []
    try:
        return [int(word) for word in text.split(",")]
    except ValueError as error:
        raise UsageError(
            f"Budgets are whole numbers with commas, but got {text!r}. Write for example 1,4,16."
        ) from error


@click.command(help=HELP)
@click.argument("study", type=click.Path(path_type=Path), required=False)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The study's folder.")
@click.option("--jobs", type=click.IntRange(1), default=2, show_default=True,
              help="Worker processes of embedded models.")  # fmt: skip
@click.option("--model", "models", multiple=True, help="Instead of a file: a model.")
@click.option("--task", "tasks", multiple=True,
              help="A task: NAME, NAME:PROBLEMS or file:PATH,checker=NAME.")  # fmt: skip
@click.option("--strategy", "strategies", multiple=True, help="A strategy, as NAME:KEY=VALUE,...")
@click.option("--budgets", callback=_numbers, help="Budgets, such as 1,4,16,64.")
@click.option("--base-url", help="Address of an endpoint, for a model openai:NAME.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True,
              help="Decides all randomness.")  # fmt: skip
@click.option("--unsafe-local", is_flag=True,
              help="Run programs that models write without a sandbox.")  # fmt: skip
@click.option("--check", is_flag=True, help="Repeat finished runs from the ledger and compare.")
def run(
    study: Path | None,
    out: Path,
    jobs: int,
    models: tuple[str, ...],
    tasks: tuple[str, ...],
    strategies: tuple[str, ...],
    budgets: list[int],
    base_url: str | None,
    seed: int,
    *,
    unsafe_local: bool,
    check: bool,
) -> None:
    """Run a study."""
    flags = bool(models or tasks or strategies)
    if flags == (study is not None):
        raise UsageError(
            "A study is given as a file or as flags, but got "
            f"{'both' if flags else 'neither'}. See `dwell run --help`."
        )
    if study is not None:
        spec = read_study(study)
    else:
        spec = study_from_flags(
            models or ("tiny-0.8m",), tasks or ("chain", "countdown"), strategies, budgets,
            base_url=base_url, seed=seed,
        )  # fmt: skip
    view = run_study(spec, out, jobs=jobs, check=check, unsafe_local=unsafe_local)
    click.echo(f"Done. See it with: dwell show {out}   or: dwell report {out}")
    if view.failures:
        sys.exit(1)


def run_study(
    spec: StudySpec, out: Path, *, jobs: int, check: bool = False, unsafe_local: bool = False
) -> LiveView:
    """Run a study with a live view, and say what was done."""
    plan = Study(spec, out, unsafe_local=unsafe_local)
    with LiveView(plan) as view:
        counts = plan.run(jobs=jobs, watch=view.watch, check=check)
    click.echo(
        f"{counts.runs_done:,} runs in {view.seconds:.0f} s: {counts.draws_new:,} draws made, "
        f"{counts.draws_hit:,} shared; {counts.runs_failed} failed.",
        err=True,
    )
    for name, message in view.failures[:3]:
        click.echo(f"failed: {name}: {message}", err=True)
    return view
