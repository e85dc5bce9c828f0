"""An evaluation by Inspect against the server, with nothing changed but its address."""

import asyncio

import pytest
from serve_world import serving

inspect_ai = pytest.importorskip("inspect_ai")

from inspect_ai import Task, eval_async  # noqa: E402
from inspect_ai.dataset import Sample  # noqa: E402
from inspect_ai.model import GenerateConfig, get_model  # noqa: E402
from inspect_ai.scorer import match  # noqa: E402

#: Inspect and what it is made of use things that are deprecated, and leave streams open.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)

#: Two of three answers are 7.
DATASET = [Sample(id=k, input=f"what is it, {k}", target="7") for k in range(4)]


async def evaluate(model, **options):
    task = Task(dataset=DATASET, scorer=match())
    (log,) = await eval_async(task, model=model, log_dir="logs", **options)
    # Samples are read when first looked at. Reading them on a running loop would patch asyncio for
    # every test that follows, whose loops would then stay open: so they are read in a thread.
    await asyncio.to_thread(lambda: list(log.samples or ()))
    assert log.status == "success", log.error
    return log


@pytest.mark.parametrize("name", ["openai-api/local/m", "openai/m"])
async def test_an_evaluation_of_the_server_sees_the_votes(name):
    async with serving("majority:n=6") as (server, upstream, _):
        own = {"responses_api": False} if name == "openai/m" else {}
        model = get_model(name, base_url=server.url, api_key="none", **own)
        log = await evaluate(model, max_tokens=50, temperature=0.8)
    assert log.results.scores[0].metrics["accuracy"].value == 1.0
    assert {sample.output.completion for sample in log.samples} == {"thought 0\nAnswer: 7"}
    assert log.stats.model_usage[name].output_tokens == upstream.counts.output_tokens == 4 * 24
    if name != "openai/m":  # Inspect sends none to models of OpenAI that it does not know
        assert {body["temperature"] for body in upstream.counts.bodies} == {0.8}


async def test_a_strategy_is_chosen_in_the_extra_body_of_a_configuration():
    async with serving("sample") as (server, upstream, _):
        config = GenerateConfig(extra_body={"dwell": {"strategy": "majority:n=3"}})
        model = get_model("openai-api/local/m", base_url=server.url, api_key="none", config=config)
        await evaluate(model)
    assert upstream.counts.answers == 4 * 3
