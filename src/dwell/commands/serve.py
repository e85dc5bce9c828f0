"""`dwell serve`: an OpenAI-compatible server that runs a strategy or a plan on every request."""

from __future__ import annotations

import asyncio
import gc
import signal
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from dwell.errors import UsageError
from dwell.protocols import Task, Verifier
from dwell.serve.arrivals import Waking
from dwell.serve.draws import Source
from dwell.serve.embedded import Embedded
from dwell.serve.journal import Journal
from dwell.serve.judges import Judges
from dwell.serve.server import Server
from dwell.serve.settings import Settings, answer_pattern, client_keys
from dwell.serve.upstream import Upstream
from dwell.strategies import parse
from dwell.strategies.planned import Planned
from dwell.tasks import get_task
from dwell.verifiers import VERIFIERS, Judge, make_verifier

#: Verifiers that every server has; they need no other model.
FREE_VERIFIERS = ("agreement", "process", "self_certainty", "worst_surprisal")
#: Objects made and not freed between two looks for garbage, and how often the older are looked at.
GARBAGE = (5_000, 100, 50)

HELP = """Serve a strategy or a plan: an OpenAI-compatible server in front of yours.

\b
  dwell serve --upstream http://localhost:8000/v1 --model qwen3-8b --strategy majority:n=8
  dwell serve --upstream http://localhost:8000/v1 --model qwen3-8b --plan plan.json
  dwell serve --model tiny-0.8m --task chain --strategy best_of_n:n=8,verifier=process

Clients change nothing but their base address. A request may name its own strategy, budget and
deadline: extra_body={"dwell": {"strategy": "majority:n=4", "ms": 2000}}.
"""


@click.command(help=HELP)
@click.option("--upstream", help="Address of the model's server, with its version: .../v1")
@click.option("--model", required=True, help="The model's name there; or an embedded one.")
@click.option("--strategy", help="As NAME:KEY=VALUE,...  [default: sample, which passes through]")
@click.option("--plan", type=click.Path(path_type=Path), help="What `dwell plan --out` wrote.")
@click.option("--verifiers", type=click.Path(path_type=Path),
              help="TOML file with [[judges]] or [[verifiers]], as a study's.")  # fmt: skip
@click.option("--api-key-env", default="OPENAI_API_KEY", show_default=True,
              help="Variable with the key of --upstream.")  # fmt: skip
@click.option("--client-keys-env", help="Variable with the keys of clients, with commas.")
@click.option("--open", "is_open", is_flag=True, help="Ask nobody for a key, wherever from.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True)
@click.option("--ledger", type=click.Path(path_type=Path), help="Folder to record draws in.")
@click.option("--record", is_flag=True, help="Record texts as well, prompts included.")
@click.option("--task", default="", help="Task whose checker reads answers: chain, countdown.")
@click.option("--answer-pattern", help="Finds the answer in a completion: its first group.")
@click.option("--deadline-ms", type=click.FloatRange(1), help="For requests that name none.")
@click.option("--fixed", is_flag=True, help="Requests may not name another strategy.")
@click.option("--most-samples", type=click.IntRange(1), default=64, show_default=True,
              help="Draws a request, whatever it asks.")  # fmt: skip
@click.option("--requests-per-minute", type=click.FloatRange(1), help="Of each key or address.")
@click.option("--most-in-flight", type=click.IntRange(1), default=1024, show_default=True)
@click.option("--most-body-bytes", type=click.IntRange(1024), default=4 * 2**20,
              show_default=True)  # fmt: skip
@click.option("--concurrency", type=click.IntRange(1), default=1024, show_default=True,
              help="Calls to --upstream at once.")  # fmt: skip
@click.option(
    "--usd-per-mtok-in", type=click.FloatRange(0), help="Dollars a million prompt tokens."
)
@click.option("--usd-per-mtok-out", type=click.FloatRange(0), help="The same for output tokens.")
@click.option("--grace-seconds", type=click.FloatRange(0), default=20.0, show_default=True,
              help="How long to wait for requests in flight when stopped.")  # fmt: skip
def serve(model: str, **options: Any) -> None:
    """Serve until stopped."""
    selector = Waking()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        runner.run(_serve(model, {**options, "arrived": selector.arrived}))


async def _serve(model: str, options: dict[str, Any]) -> None:
    server = make_server(model, options)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    # What was imported lives as long as the process: no pause to look through it. Thousands of
    # calls in flight are no garbage either; at Python's own pace a sixth of the time goes there.
    gc.freeze()
    gc.set_threshold(*GARBAGE)
    async with server:
        click.echo(
            f"Serving {model} by {server.settings.strategy.spec()} at {server.url} (Ctrl-C stops)",
            err=True,
        )
        await stopped.wait()
        click.echo("Stopping: waiting for what is in flight.", err=True)


def make_server(model: str, options: dict[str, Any]) -> Server:
    """The server that the options describe.

    Raises:
        UsageError: an option is out of range, or two contradict each other.
    """
    if options["strategy"] and options["plan"]:
        raise UsageError("A server runs a strategy or a plan, but got both. Leave one out.")
    if options["record"] and not options["ledger"]:
        raise UsageError("--record says what the ledger keeps, but there is no --ledger FOLDER.")
    plan = options["plan"]
    strategy = Planned(file=str(plan)) if plan else parse(options["strategy"] or "sample")
    if strategy.pooled:
        raise UsageError(
            f"A server answers requests one by one, but {strategy.name} solves a pool of them. "
            "Choose another strategy."
        )
    deadline = options["deadline_ms"]
    settings = Settings(
        model=model,
        strategy=strategy,
        client_strategies=not options["fixed"],
        answer_pattern=answer_pattern(options["answer_pattern"]),
        deadline_seconds=None if deadline is None else deadline / 1e3,
        most_samples=options["most_samples"],
        usd_per_million_prompt_tokens=options["usd_per_mtok_in"],
        usd_per_million_output_tokens=options["usd_per_mtok_out"],
        key_digests=client_keys(
            options["client_keys_env"], options["host"], open_to_all=options["is_open"]
        ),
        requests_per_minute=options["requests_per_minute"],
        most_in_flight=options["most_in_flight"],
        most_body_bytes=options["most_body_bytes"],
        grace_seconds=options["grace_seconds"],
    )
    task = get_task(options["task"]) if options["task"] else None
    source = _source(settings, options, task)
    folder = options["ledger"]
    return Server(
        settings,
        source,
        judges=_judges(settings, options),
        journal=None if folder is None else Journal(folder, record=options["record"]),
        task=options["task"],
        host=options["host"],
        port=options["port"],
        arrived=options.get("arrived", time.monotonic),
    )


def _source(settings: Settings, options: dict[str, Any], task: Task | None) -> Source:
    if options["upstream"] is not None:
        if task is not None:
            raise UsageError("--task reads answers of embedded models. Leave it out.")
        return Upstream(
            settings,
            options["upstream"],
            api_key_env=options["api_key_env"],
            concurrency=options["concurrency"],
        )
    # Loaded when needed: in front of another server no model's runtime is.
    registry = import_module("dwell.generators.registry")
    return Embedded(registry.make_generator(settings.model), task, settings.answer_pattern)


def _judges(settings: Settings, options: dict[str, Any]) -> Judges:
    """The verifiers that cost nothing, those of the strategy, and the operator's own."""
    names = {*FREE_VERIFIERS, *(settings.strategy.verifiers() & set(VERIFIERS))}
    if "exact" in settings.strategy.verifiers():
        raise UsageError("The verifier exact reads reference answers; live requests have none.")
    found: dict[str, Verifier] = {name: make_verifier(name) for name in sorted(names)}
    if options.get("verifiers"):
        own = import_module("dwell.study_file").read_verifiers(options["verifiers"])
        found |= {spec.name: _judge(spec, options) for spec in own.judges}
        found |= {v.name: make_verifier(v.model, **v.options()) for v in own.verifiers}
    return Judges(found)


def _judge(spec: Any, options: dict[str, Any]) -> Judge:
    """A judge; one of an endpoint's models without an address is at --upstream, with its key."""
    model = spec.as_model()
    own: dict[str, Any] = {"base_url": model.base_url}
    if model.base_url is None and model.name.startswith("openai:"):
        own = {"base_url": options["upstream"], "api_key_env": options["api_key_env"]}
    make_generator = import_module("dwell.generators.registry").make_generator
    return Judge(make_generator(model.name, **own, **model.model_options()), **spec.options())
