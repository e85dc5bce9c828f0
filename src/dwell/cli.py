"""The command line: `dwell`. Commands live in `dwell.commands`, loaded when first used."""

from __future__ import annotations

import sys
from importlib import import_module

import click

import dwell
from dwell.errors import DwellError, SpendLimitReached

#: name -> (module that holds the command, what `dwell --help` says of it).
COMMANDS = {
    "demo": ("dwell.commands.demo", "Run a small study of the embedded model; show a report."),
    "run": ("dwell.commands.run", "Run a study: models x tasks x strategies x budgets."),
    "show": ("dwell.commands.show", "Print a study's accuracies with intervals, or as JSON."),
    "replay": ("dwell.commands.replay", "What strategies would get on recorded samples."),
    "plan": ("dwell.commands.plan", "Find the policy for a budget, and what it promises."),
    "serve": ("dwell.commands.serve", "Serve a strategy or a plan: an OpenAI-compatible server."),
    "report": ("dwell.commands.report", "Write a study's report: one self-contained page."),
    "export": ("dwell.commands.export", "Recorded texts as training data, or as Inspect logs."),
    "cost": ("dwell.commands.cost", "What samples cost: FLOPs, bytes, seconds, dollars."),
    "fit": ("dwell.commands.fit", "Fit a scaling law to a table: intervals, held-out error."),
    "optimum": ("dwell.commands.optimum", "The best model size and tokens for a budget."),
    "crossover": ("dwell.commands.crossover", "Where two fitted laws cross."),
    "laws": ("dwell.commands.laws", "List the scaling laws, their formulas and papers."),
    "strategies": ("dwell.commands.lists", "List the strategies, their parameters and papers."),
    "models": ("dwell.commands.lists", "List the embedded models."),
    "tasks": ("dwell.commands.lists", "List the built-in tasks and their difficulties."),
    "doctor": ("dwell.commands.doctor", "Check this installation."),
}

EXIT_USAGE, EXIT_PAUSED, EXIT_INTERRUPTED = 2, 3, 130


class _LazyGroup(click.Group):
    """A group whose commands are imported when they are run, not when they are listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(COMMANDS[cmd_name][0]), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


HELP = """Spend test-time compute where it buys accuracy.

\b
dwell demo                      the main job on an embedded model, in a minute
dwell run study.toml --out DIR  run; Ctrl-C and the same command again resume
dwell show DIR                  accuracy at each budget, with intervals
dwell report DIR                one page that shows it all
dwell replay TABLE              what strategies would get on recorded samples
dwell plan TABLE --budget 8     which strategy, when to stop, what it will bring
dwell fit TABLE --law NAME      a scaling law with intervals and held-out error
"""


@click.group(cls=_LazyGroup, help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(dwell.__version__, prog_name="dwell")
def cli() -> None:
    """The command line."""


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 2 the user must change something, 3 paused."""
    try:
        code = cli.main(args=args, prog_name="dwell", standalone_mode=False) or 0
    except click.ClickException as error:
        error.show()
        code = EXIT_USAGE
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped. Everything drawn so far is recorded: run the same again.", err=True)
        code = EXIT_INTERRUPTED
    except SpendLimitReached as paused:
        click.echo(str(paused), err=True)
        code = EXIT_PAUSED
    except DwellError as error:
        click.echo(f"dwell: {error}", err=True)
        code = EXIT_USAGE
    sys.exit(code)


if __name__ == "__main__":
    main()
