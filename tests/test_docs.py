"""The pages: links lead somewhere, and every `dwell` command shown is one that parses."""

import re
import shlex
from pathlib import Path

import click
import pytest

from dwell.cli import COMMANDS, cli

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^ *```(\w*)[^\n]*\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
SHELLS = {"", "sh", "bash", "shell", "console", "text"}
#: Where a command ends on its line: a pipe, the next command, a redirection, a comment.
ENDS = re.compile(r"\s(?:\||&&|;|&|2?>|#)(?:\s|$)")


def name_of(page):
    return str(page.relative_to(ROOT))


def prose_of(text):
    """A page without its code."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))


def anchors_of(page):
    """What GitHub makes of the headings: lower case, words joined by hyphens."""
    headings = re.findall(r"^#+ +(.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    kept = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.strip().replace(" ", "-") for heading in kept}


def commands_of(text):
    """`dwell` command lines in code: fenced blocks, indented ones, and between backticks."""
    text = re.sub(r"\\\n\s*", " ", text)
    rest = FENCE.sub("", text)
    lines = [
        line for kind, body in FENCE.findall(text) if kind in SHELLS for line in body.splitlines()
    ]
    lines += re.findall(r"^(?: {4}|\t)(\S.*)$", rest, re.MULTILINE)
    found = [line.strip().removeprefix("$ ") for line in lines]
    mentions = [" ".join(part.split()) for part in re.findall(r"`(dwell [^`]+)`", rest)]
    # `dwell serve --plan` names an option: its value is left to the reader.
    found += [f"{one} 1" if one.split()[-1].startswith("--") else one for one in mentions]
    found = [re.sub(r"[\[\]]", "", line) for line in found]  # what may be left out
    return [ENDS.split(line)[0] for line in found if re.match(r"dwell [a-z-]", line)]


def check_command(line):
    """Raises what click would: an unknown command or option, a missing or wrong value."""
    words = [word for word in shlex.split(line)[1:] if word.strip(".…")]
    if words[0].startswith("-"):
        cli.make_parser(click.Context(cli)).parse_args(words)
        return
    if words[0] not in COMMANDS:
        raise click.UsageError(f"no command {words[0]!r}")
    context = click.Context(cli.get_command(click.Context(cli), words[0]))
    values, _, order = context.command.make_parser(context).parse_args(list(words[1:]))
    for param in order:
        if isinstance(param.type, click.Choice) and not param.multiple:
            param.type.convert(values[param.name], param, context)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_lead_to_files_and_headings(page):
    links = re.findall(r"\]\(([^)\s]+)\)", prose_of(page.read_text()))
    for link in (link for link in links if not re.match(r"\w+:", link)):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_parse(page):
    for line in commands_of(page.read_text()):
        try:
            check_command(line)
        except click.UsageError as error:
            pytest.fail(f"{line}: {error.format_message()}")


def test_the_pages_hold_commands_and_links_to_check():
    shown = [line for page in PAGES for line in commands_of(page.read_text())]
    assert {line.split()[1] for line in shown} >= {"run", "show", "replay", "plan", "serve", "fit"}
    assert len(shown) > 50


@pytest.mark.parametrize(
    "line",
    ["dwell fitt x.csv", "dwell fit x.csv --lawx m2", "dwell fit x.csv --law",
     "dwell fit x.csv --scale both", "dwell --nonsense"],
)  # fmt: skip
def test_a_wrong_command_is_found(line):
    with pytest.raises(click.UsageError):
        check_command(line)
