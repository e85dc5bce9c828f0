"""`dwell laws`: what laws there are; and their pages for `docs/laws`."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Column
from rich.table import Table as Printed

from dwell.errors import UsageError
from dwell.laws.law import Law
from dwell.laws.registry import LAWS, law_of


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def laws(name: str | None, *, as_json: bool) -> None:
    """List the scaling laws with formula, inputs and paper; or all about one."""
    chosen = [law_of(name)] if name else [LAWS[key] for key in sorted(LAWS)]
    if as_json:
        click.echo(json.dumps([_record(law) for law in chosen], indent=1))
        return
    if name:
        click.echo(page_of(chosen[0]))
        return
    table = Printed(Column("law", no_wrap=True), "formula", "inputs", "target", "paper")
    for law in chosen:
        table.add_row(
            law.name, law.text.replace("[", r"\["), ", ".join(law.inputs), law.target, law.paper
        )
    console = Console()
    (console if console.is_terminal else Console(width=180)).print(table)


def _record(law: Law) -> dict[str, object]:
    return {
        "law": law.name,
        "formula": law.text,
        "inputs": list(law.inputs),
        "target": law.target,
        "params": {name: param.meaning for name, param in law.params.items()},
        "space": law.space,
        "delta": law.delta,
        "paper": law.paper,
        "equation": law.equation,
        "use": law.use,
        "assumes": law.assumes,
    }


def page_of(law: Law) -> str:
    """A law's page in Markdown, from its declaration."""
    params = "\n".join(
        f"| `{name}` | {param.meaning} | {_range(param.lower, param.upper)} |"
        for name, param in law.params.items()
    )
    loss = "least squares" if law.delta is None else f"Huber, delta {law.delta:g}"
    lines = [
        f"# {law.name}",
        f"    {law.target} = {law.text}",
        law.use,
        f"Inputs: {', '.join(f'`{name}`' for name in law.inputs)}. Target: `{law.target}`. "
        f"Residuals in {law.space} space, {loss}.",
        "| parameter | meaning | range |\n|---|---|---|\n" + params,
        f"Assumes: {law.assumes}." if law.assumes else "",
        f"Paper: {law.paper}.",
        f"Equation: {law.equation}.",
    ]
    return "\n\n".join(line for line in lines if line) + "\n"


def _range(low: float, high: float) -> str:
    return f"{low:g} to {high:g}"


def write_pages(folder: Path) -> None:
    """Write a page for each law, with its drawing if it lies there, and their list.

    Raises:
        UsageError: no such folder.
    """
    if not folder.is_dir():
        raise UsageError(f"pages go to a folder that exists, but got {folder}.")
    names = sorted(LAWS)
    for name in names:
        head, _, rest = page_of(LAWS[name]).partition("\n\n")
        plot = f"![{name}]({name}.svg)\n\n" if (folder / f"{name}.svg").is_file() else ""
        (folder / f"{name}.md").write_text(f"{head}\n\n{plot}{rest}", encoding="utf-8")
    rows = "\n".join(f"| [{n}]({n}.md) | `{LAWS[n].text}` | {LAWS[n].use} |" for n in names)
    table = f"# Laws\n\n| law | formula | when |\n|---|---|---|\n{rows}\n"
    (folder / "README.md").write_text(table, encoding="utf-8")
