"""`dwell export`: recorded texts as training data, or as logs of Inspect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from dwell.errors import UsageError
from dwell.exports import Choice, Exported, Guard, Options, Reading, chosen_questions, open_source
from dwell.exports import export as write_rows
from dwell.exports.choosing import Pairing, Select
from dwell.exports.exporting import Form
from dwell.exports.inspect_logs import export_logs
from dwell.exports.rows import Format, StepLabels
from dwell.exports.writing import CARD

INSPECT = "inspect"
#: Most rows of a question: more would let easy questions outweigh the others.
USUAL = 4
HELP = f"""Write recorded texts as training data for TRL, or as logs of Inspect.

\b
  dwell export runs/mine --to sft --out sft.jsonl          right answers: rejection sampling
  dwell export runs/mine --to dpo --out dpo.parquet        right against wrong, in pairs
  dwell export runs/mine --to dpo --by strict --gap 0.3 --out dpo.jsonl     by a judge's score
  dwell export runs/mine --to kto --out kto.jsonl          single texts, right or wrong
  dwell export runs/mine --to prm --out prm.jsonl          steps, right or wrong
  dwell export runs/mine --to inspect --out logs           one log a strategy: inspect view

SOURCE is a study's folder, a server's (dwell serve --ledger FOLDER --record, labelled by
/dwell/feedback), or a table of samples as of `dwell replay` with columns `text` and `prompt` or
`messages`. Nothing is drawn: what was recorded is graded, chosen and written.

Rows are chats (lists of messages) where the model was asked by a chat, else plain texts. Beside
the file lies FILE{CARD}: source, options, seed, counts of what was left out and why, and
the ids of the questions, on which a model so trained must not be measured.
"""


def _count(text: str | None, usual: int | None) -> int | None:
    """`all` as None, else a number of at least 1."""
    if text is None:
        return usual
    if text == "all":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(
            f"`--most` is a whole number of at least 1 or `all`, but got {text!r}. Write one."
        )
    return int(text)


@click.command(help=HELP)
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.option("--to", "kind", required=True, type=click.Choice([*get_args(Format), INSPECT]),
              help="What to write.")  # fmt: skip
@click.option("--out", required=True, type=click.Path(path_type=Path),
              help="The file (.jsonl or .parquet); of logs the folder.")  # fmt: skip
@click.option("--force", is_flag=True, help="Write over what is there.")
@click.option("--model", help="Whose texts, where a study has several models.")
@click.option("--most", help="Most rows of a question (kto, prm: of each label), or `all`.  "
              f"[default: {USUAL}; of a log of draws: all]")  # fmt: skip
@click.option("--select", type=click.Choice(get_args(Select)), default="random",
              show_default=True, help="Which texts come first; `best` needs --by.")  # fmt: skip
@click.option("--pairing", type=click.Choice(get_args(Pairing)), default="random",
              show_default=True, help="dpo: `hard` rejects first what most wrong texts say; with "
              "--by it takes the smallest gaps.")  # fmt: skip
@click.option("--by", help="A verifier or judge of the study, or a column of numbers: dpo makes "
              "pairs by it instead of by right and wrong; --select best reads it.")  # fmt: skip
@click.option("--gap", type=click.FloatRange(0), default=0.0, show_default=True,
              help="dpo --by: least difference of the scores.")  # fmt: skip
@click.option("--steps", type=click.Choice(get_args(StepLabels)), default="auto",
              show_default=True, help="prm: labels by the task's truth (chain, countdown) or by "
              "recorded completions of each prefix (Math-Shepherd).")  # fmt: skip
@click.option("--least", type=click.IntRange(1), default=4, show_default=True,
              help="prm: least completions of a prefix.")  # fmt: skip
@click.option("--threshold", type=click.FloatRange(0, 1, max_open=True), default=0.0,
              show_default=True, help="prm: a step is right if more than this share of its "
              "completions is; 0 = any.")  # fmt: skip
@click.option("--separator", help="prm: what divides steps.  [default: the study's, else newline]")
@click.option("--continued", is_flag=True, help="Texts of searches too, that were written piece "
              "by piece.")  # fmt: skip
@click.option("--reasoning", is_flag=True, help="Keep what a model reasoned apart, as "
              "`reasoning_content`.")  # fmt: skip
@click.option("--form", type=click.Choice(get_args(Form)), default="asked", show_default=True,
              help="Chats, plain texts, or as the model was asked.")  # fmt: skip
@click.option("--questions", help="Only these: TAG=VALUE|VALUE (such as level=3|4, task=chain), "
              "or a file of ids.")  # fmt: skip
@click.option("--hold-out", type=click.FloatRange(0, 1, max_open=True), default=0.0,
              show_default=True, help="Share of questions left out, by their ids.")  # fmt: skip
@click.option("--balance", help="As many rows of each value of a tag (or `label` of kto).")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True,
              help="Decides what is random.")  # fmt: skip
@click.option("--draws", is_flag=True, help="inspect: one log with every draw as an epoch, "
              "instead of one log a strategy.")  # fmt: skip
@click.option(
    "--map", "mapping", multiple=True, help="Tables: another column's name: text=output."
)
@click.option("--where", multiple=True, help="Tables: only rows such as model=a|b.")
@click.option("--reference", help="Tables: column or table of references to grade by.")
@click.option("--skip-bad", is_flag=True, help="Tables: leave bad rows out, and count them.")
def export(source: Path, kind: Any, out: Path, **options: Any) -> None:
    """Export a source."""
    _check(kind, options)
    guard = Guard(
        text=options["questions"],
        only=chosen_questions(options["questions"]) if options["questions"] else None,
        hold_out=options["hold_out"],
    )
    opened = open_source(
        source,
        model=options["model"],
        by=options["by"],
        continued=options["continued"],
        reasoning=options["reasoning"] or kind == INSPECT,
        reading=Reading(
            mapping=options["mapping"], where=options["where"],
            reference=options["reference"], skip_bad=options["skip_bad"],
        ),
    )  # fmt: skip
    _check_source(opened.kind, options)
    with _bar() as progress:
        bar = progress.add_task("exporting", total=None)

        def watch(done: int, total: int) -> None:
            progress.update(bar, completed=done, total=total)

        if kind == INSPECT:
            made = export_logs(
                source, opened, out, guard, draws=options["draws"], model=options["model"],
                most=_count(options["most"], None), force=options["force"], watch=watch,
            )  # fmt: skip
        else:
            made = write_rows(
                opened, kind, out, _options(kind, options), form=options["form"], guard=guard,
                balance=options["balance"], force=options["force"], watch=watch,
            )  # fmt: skip
    _say(made, kind)


def _check(kind: str, options: Mapping[str, Any]) -> None:
    """Refuse options that would do nothing."""
    rules: list[tuple[str, bool, Callable[[], bool]]] = [
        ("--gap is for dpo with --by", options["gap"] > 0,
         lambda: kind == "dpo" and options["by"] is not None),
        ("--pairing is for dpo", options["pairing"] != "random", lambda: kind == "dpo"),
        ("--by is for dpo, or for --select best", options["by"] is not None,
         lambda: kind == "dpo" or options["select"] == "best"),
        ("--select best needs --by", options["select"] == "best",
         lambda: options["by"] is not None),
        ("--draws is for inspect", options["draws"], lambda: kind == INSPECT),
        ("--balance is for rows of training data", options["balance"] is not None,
         lambda: kind != INSPECT),
        ("--select is for rows of training data", options["select"] != "random",
         lambda: kind != INSPECT),
        ("--form is for sft, dpo and kto", options["form"] != "asked",
         lambda: kind in ("sft", "dpo", "kto")),
        ("--reasoning is for chats of sft, dpo and kto (logs have it)", options["reasoning"],
         lambda: kind in ("sft", "dpo", "kto") and options["form"] != "text"),
        ("--steps is for prm", options["steps"] != "auto", lambda: kind == "prm"),
        ("--separator is for prm", options["separator"] is not None, lambda: kind == "prm"),
        ("--threshold is for prm", options["threshold"] > 0, lambda: kind == "prm"),
    ]  # fmt: skip
    for rule, given, fits in rules:
        if given and not fits():
            raise UsageError(f"{rule}, but got --to {kind}. Leave it out, or add what it needs.")


def _check_source(kind: str, options: Mapping[str, Any]) -> None:
    """Refuse options that a source of this kind has no use for."""
    studies = {"--reasoning": options["reasoning"]}
    tables = {"--map": options["mapping"], "--where": options["where"],
              "--reference": options["reference"], "--skip-bad": options["skip_bad"]}  # fmt: skip
    for what, given in (("study", studies), ("table", tables)):
        for name, value in given.items():
            if value and kind != what:
                raise UsageError(
                    f"{name} is for sources that are a {what}, but this one is a {kind}. Leave it "
                    "out."
                )


def _options(kind: str, options: Mapping[str, Any]) -> Options:
    separator = options["separator"]
    return Options(
        choice=Choice(
            most=_count(options["most"], USUAL),
            select=options["select"],
            pairing=options["pairing"],
            by=kind == "dpo" and options["by"] is not None,
            gap=options["gap"],
            seed=options["seed"],
        ),
        reasoning=options["reasoning"],
        steps=options["steps"],
        least=options["least"],
        threshold=options["threshold"],
        separator=None if separator is None else separator.replace("\\n", "\n"),
    )


def _bar() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"), BarColumn(bar_width=24),
        TextColumn("{task.completed:.0f} questions"), TimeRemainingColumn(),
        console=console, disable=not console.is_terminal,
    )  # fmt: skip


def _say(made: Exported, kind: str) -> None:
    card = made.card
    counts = card["counts"]
    written = counts["rows"].get("written", 0)
    labels = ", ".join(f"{count:,} {what}" for what, count in card.get("labels", {}).items())
    click.echo(
        f"{made.path}: {written:,} {'samples in logs' if kind == INSPECT else f'rows for {kind}'} "
        f"of {len(card['question_ids']):,} questions, from {counts['samples'].get('read', 0):,} "
        f"samples{f' ({labels})' if labels else ''}."
    )
    for note in made.notes:
        click.echo(note)
