"""lm-evaluation-harness: strategies as its model, and its own clients against the server."""

import asyncio
import json
from pathlib import Path

import pytest
from serve_world import serving

from dwell.errors import UsageError
from dwell.generators.fake_server import FakeServer
from dwell.generators.scripted import Scripted
from dwell.results import analyse

pytest.importorskip("lm_eval")

from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

import dwell.lm_eval

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

#: Two of three answers are 7.
SEVENS = Scripted.from_function(
    lambda context, index, rng: f"thought {index}\nAnswer: {(8, 7, 7)[index % 3]}", name="sevens"
)


def task(**changes):
    """A generative task of three documents, the answer being 7."""
    rows = [{"question": f"what is it, {k}", "answer": "so it is\n#### 7"} for k in range(3)]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    regex = {"function": "regex", "regex_pattern": r"Answer: (\d+)"}
    return {
        "task": "seven",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": "rows.jsonl"}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "{{question}}",
        "doc_to_target": "7",
        "generation_kwargs": {"until": ["STOP"], "max_gen_toks": 20, "do_sample": False},
        "filter_list": [{"name": "last", "filter": [regex, {"function": "take_first"}]}],
        "metric_list": [{"metric": "exact_match", "aggregation": "mean"}],
        **changes,
    }


async def evaluate(model, arguments, *, changes=None, **options):
    """The results of an evaluation, made in a thread as the harness blocks."""
    manager = TaskManager(include_defaults=False)  # the harness's own take seconds to list
    return await asyncio.to_thread(
        simple_evaluate, model=model, model_args=arguments, tasks=[task(**(changes or {}))],
        bootstrap_iters=0, task_manager=manager, **options,
    )  # fmt: skip


def accuracy(results):
    return results["results"]["seven"]["exact_match,last"]


async def test_a_strategy_answers_a_task():
    async with FakeServer(SEVENS, record=True) as server:
        address = f"base_url={server.base_url},model=m"
        one = await evaluate("dwell", f"{address},strategy=sample")
        vote = await evaluate("dwell", f"{address},strategy=majority:n=6", log_samples=True)
    assert (accuracy(one), accuracy(vote)) == (0.0, 1.0)
    assert vote["samples"]["seven"][0]["resps"] == [["thought 1\nAnswer: 7"]]
    body = server.counts.bodies[-1]
    assert (body["stop"], body["max_tokens"]) == (["STOP"], 20)
    assert "temperature" not in body  # greedy draws would all be the same


async def test_a_ledger_makes_the_second_evaluation_free_and_can_be_planned_on():
    async with FakeServer(SEVENS) as server:
        options = {"base_url": server.base_url, "model": "m", "strategy": "majority:n=6",
                   "ledger": "runs", "reference": "answer"}  # fmt: skip
        await evaluate("dwell", options)
        paid = server.counts.answers
        await evaluate("dwell", options)
    assert server.counts.answers == paid == 18
    (curve,) = [one for one in analyse("runs")["curves"] if one["strategy"] == "majority"]
    assert curve["points"][-1]["accuracy"] == pytest.approx(1.0)


async def test_repeats_are_independent_streams():
    async with FakeServer(SEVENS) as server:
        arguments = {"base_url": server.base_url, "model": "m", "strategy": "majority:n=3",
                     "ledger": "runs"}  # fmt: skip
        await evaluate("dwell", arguments, changes={"repeats": 2})
    assert server.counts.answers == 3 * 3 * 2


async def test_a_task_that_samples_decides_the_temperature_unless_told():
    sampling = {"generation_kwargs": {"until": [], "do_sample": True, "temperature": 0.6}}
    async with FakeServer(SEVENS, record=True) as server:
        arguments = {"base_url": server.base_url, "model": "m", "strategy": "sample"}
        await evaluate("dwell", arguments, changes=sampling)
        await evaluate("dwell", {**arguments, "temperature": 0.9}, changes=sampling)
    assert [body["temperature"] for body in server.counts.bodies] == [0.6] * 3 + [0.9] * 3


async def test_a_chat_template_is_the_servers_own():
    async with FakeServer(SEVENS, record=True) as server:
        arguments = {"base_url": server.base_url, "model": "m", "strategy": "sample"}
        await evaluate("dwell", arguments, apply_chat_template=True, system_instruction="Be brief")
    assert [m["role"] for m in server.counts.bodies[0]["messages"]] == ["system", "user"]


async def test_a_base_model_is_asked_for_completions():
    async with FakeServer(SEVENS, record=True) as server:
        arguments = {"base_url": server.base_url, "model": "m", "api": "completions"}
        results = await evaluate("dwell", arguments)
    assert accuracy(results) == 1.0
    assert server.counts.bodies[0]["prompt"] == "what is it, 0"


async def test_an_embedded_model_needs_no_server():
    results = await evaluate("dwell", {"model": "coin:1.0", "strategy": "majority:n=2"})
    assert accuracy(results) == 0.0  # it says 1


def test_likelihoods_are_refused_with_the_way_out():
    model = dwell.lm_eval.DwellLM(model="coin:0.5")
    with pytest.raises(UsageError, match="generative variant"):
        model.loglikelihood([])
    with pytest.raises(UsageError, match="generative variant"):
        model.loglikelihood_rolling([])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "name of a model"),
        ({"model": "coin:0.5", "pretrained": "x"}, "pretrained"),
        ({"model": "coin:0.5", "samples": "many"}, "`samples` must be a number above 0"),
        ({"model": "coin:0.5", "concurrency": 0}, "`concurrency` must be a whole number"),
        ({"model": "coin:0.5", "temperature": "hot"}, "`temperature` must be a number"),
        ({"model": "coin:0.5", "checker": "nope"}, "A checker must be one of"),
        ({"model": "coin:0.5", "strategy": "best_of_n:n=2;verifier=nope"}, "a verifier must be"),
        ({"model": "coin:0.5", "strategy": "best_of_n:n=2;verifier=x;y=1"}, "takes the param"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        dwell.lm_eval.DwellLM(**arguments)


def test_the_right_answer_is_a_single_one_of_a_field_that_is_there():
    document = {"answer": 7, "one": ["a"], "several": ["a", "b"]}
    found = [dwell.lm_eval._field(document, name) for name in document]
    assert found == ["7", "a", None]
    with pytest.raises(UsageError, match=r"\(answer, one, several\), but got 'target'"):
        dwell.lm_eval._field(document, "target")


def test_the_command_line_refuses_in_a_line(monkeypatch, capsys):
    def refuse():
        raise UsageError("No such thing.")

    monkeypatch.setattr(dwell.lm_eval, "cli_evaluate", refuse)
    with pytest.raises(SystemExit, match="2"):
        dwell.lm_eval.main()
    assert capsys.readouterr().err == "dwell: No such thing.\n"


async def test_a_server_that_is_not_there_is_one_line():
    arguments = {"base_url": "http://127.0.0.1:9/v1", "model": "m"}
    with pytest.raises(dwell.DwellError, match="must be reachable"):
        await evaluate("dwell", arguments)


@pytest.mark.slow
async def test_the_harness_command_line_knows_the_model(monkeypatch):
    text = json.dumps(task())  # JSON is YAML
    Path("seven.yaml").write_text(text)
    async with FakeServer(SEVENS) as server:
        words = ["lm-eval", "run", "--model", "dwell", "--tasks", "seven", "--include_path", ".",
                 "--model_args", f"base_url={server.base_url},model=m,strategy=majority:n=3",
                 "--output_path", "out"]  # fmt: skip
        monkeypatch.setattr("sys.argv", words)
        await asyncio.to_thread(dwell.lm_eval.cli_evaluate)
    (written,) = Path("out").rglob("results_*.json")
    assert accuracy(json.loads(written.read_text())) == 1.0


@pytest.mark.parametrize(
    ("model", "path", "more"),
    [
        ("local-chat-completions", "/chat/completions", {"apply_chat_template": True}),
        ("local-completions", "/completions", {}),
    ],
)
async def test_the_harness_clients_work_against_the_server(model, path, more):
    async with serving("majority:n=3") as (server, upstream, _):
        arguments = {"model": "m", "base_url": server.url + path, "tokenizer_backend": None,
                     "tokenized_requests": False, "num_concurrent": 2}  # fmt: skip
        results = await evaluate(model, arguments, **more)
    assert accuracy(results) == 1.0
    assert upstream.counts.answers == 9
