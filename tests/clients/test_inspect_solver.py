"""`dwell.inspect`: a strategy answers in an evaluation, and its draws are remembered."""

import asyncio
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from dwell.cli import cli
from dwell.errors import UsageError
from dwell.generators.fake_server import FakeServer
from dwell.generators.scripted import Scripted
from dwell.ledger import Ledger
from dwell.results import analyse

inspect_ai = pytest.importorskip("inspect_ai")

from inspect_ai import Task, eval_async  # noqa: E402
from inspect_ai.dataset import Sample  # noqa: E402
from inspect_ai.model import (  # noqa: E402
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    ContentImage,
    ContentReasoning,
    ContentText,
    GenerateConfig,
    ModelOutput,
    ModelUsage,
    get_model,
)
from inspect_ai.scorer import choice, match  # noqa: E402
from inspect_ai.solver import multiple_choice, system_message  # noqa: E402
from inspect_ai.tool import tool  # noqa: E402

from dwell.inspect import dwell_solver  # noqa: E402
from dwell.inspect_model import _calls_in  # noqa: E402

#: Inspect and what it is made of use things that are deprecated, and leave streams open.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)

QUESTIONS = [Sample(id=k, input=f"what is it, {k}", target="7") for k in range(3)]
#: Two of three answers are 7.
SEVENS = Scripted.from_function(
    lambda context, index, rng: f"thought {index}\nAnswer: {(8, 7, 7)[index % 3]}", name="sevens"
)


class Mock:
    """A model of Inspect that answers by a function of the number of calls so far."""

    def __init__(self, write, **options):
        self.calls = []

        def answer(messages, tools, tool_choice, config):
            self.calls.append((messages, tools, config))
            output = write(len(self.calls) - 1)
            if isinstance(output, str):
                output = ModelOutput.from_content("mockllm/model", output)
            output.usage = output.usage or ModelUsage(
                input_tokens=10, output_tokens=5, total_tokens=15
            )
            return output

        self.model = get_model("mockllm/model", custom_outputs=answer, **options)


def sevens():
    return Mock(lambda k: f"thought {k}\nANSWER: {(8, 7, 7)[k % 3]}")


async def evaluate(model, solver, dataset=QUESTIONS, scorer=None, **options):
    task = Task(dataset=dataset, solver=solver, scorer=scorer or match())
    (log,) = await eval_async(task, model=model, log_dir="logs", **options)
    # Samples are read when first looked at. Reading them on a running loop would patch asyncio for
    # every test that follows, whose loops would then stay open: so they are read in a thread.
    await asyncio.to_thread(lambda: list(log.samples or ()))
    return log


async def good(model, solver, *arguments, **options):
    log = await evaluate(model, solver, *arguments, **options)
    assert log.status == "success", log.error
    return log


async def test_the_sample_has_the_winning_completion_and_its_account():
    mock = sevens()
    log = await good(mock.model, dwell_solver("majority:n=3"))
    sample = log.samples[0]
    assert sample.output.completion.endswith("ANSWER: 7")
    assert sample.messages[-1].text == sample.output.completion
    assert sample.scores["match"].value == "C"
    account = sample.metadata["dwell"]
    assert account["votes"] == [{"answer": "7", "count": 2}, {"answer": "8", "count": 1}]
    assert account["confidence"] == {"agreement": 0.6667, "votes": 3, "calibrated": False}
    assert account["charged"]["output_tokens"] == 15
    assert len(mock.calls) == 9
    assert log.stats.model_usage["mockllm/model"].output_tokens == 45


async def test_the_same_evaluation_again_pays_nothing_and_says_the_same():
    solver = dwell_solver("majority:n=3", ledger="runs")
    first, again = sevens(), sevens()
    one = await good(first.model, solver, epochs=2)
    two = await good(again.model, solver, epochs=2)
    assert (len(first.calls), len(again.calls)) == (18, 0)
    assert [s.output.completion for s in one.samples] == [s.output.completion for s in two.samples]
    assert two.samples[0].metadata["dwell"]["new_draws"] == 0


async def test_another_strategy_takes_the_draws_that_are_there():
    mock = sevens()
    await good(mock.model, dwell_solver("majority:n=4", ledger="runs"))
    await good(mock.model, dwell_solver("best_of_n:n=6,verifier=agreement", ledger="runs"))
    assert len(mock.calls) == 3 * 6


async def test_an_interrupted_evaluation_goes_on_where_it_stopped():
    def breaks(k):
        if k == 4:
            raise RuntimeError("the power went off")
        return f"thought {k}\nANSWER: 7"

    broken, mock = Mock(breaks), sevens()
    solver = dwell_solver("majority:n=3", ledger="runs")
    log = await evaluate(broken.model, solver, max_samples=1)
    assert log.status == "error"
    await good(mock.model, solver)
    recorded = len(broken.calls) - 1
    assert recorded >= 3
    assert len(mock.calls) == 9 - recorded


async def test_the_folder_is_a_study_that_can_be_shown_replayed_and_planned_on():
    async with FakeServer(SEVENS) as server:
        model = get_model("openai-api/local/m", base_url=server.base_url, api_key="none")
        await good(model, dwell_solver("majority:n=6", ledger="runs"), temperature=0.9)
    assert server.counts.requests == 3  # `num_choices` was honoured
    results = analyse("runs")
    (curve,) = [one for one in results["curves"] if one["strategy"] == "majority"]
    assert curve["points"][-1]["accuracy"] == pytest.approx(1.0)
    replay = ["replay", "runs", "--strategies", "sample,majority", "--budgets", "1", "--json"]
    done = CliRunner().invoke(cli, replay)
    assert done.exit_code == 0, done.output
    accuracy = {
        c["strategy"]: c["points"][0]["accuracy"] for c in json.loads(done.output)["curves"]
    }
    assert accuracy["sample"] == pytest.approx(2 / 3)
    done = CliRunner().invoke(cli, ["plan", "runs", "--budget", "3", "--out", "plan.json"])
    assert done.exit_code == 0, done.output
    mock = sevens()
    await good(mock.model, dwell_solver("plan:plan.json"))
    assert mock.calls


async def test_a_server_that_answers_once_is_asked_for_the_rest():
    async with FakeServer(SEVENS, many="ignore", record=True) as server:
        model = get_model("openai-api/local/m", base_url=server.base_url, api_key="none")
        log = await good(model, dwell_solver("majority:n=6"), max_samples=1)
    assert [s.metadata["dwell"]["draws"] for s in log.samples] == [6, 6, 6]
    assert server.counts.answers == 18
    assert len({body["seed"] for body in server.counts.bodies}) == 18


async def test_a_server_that_refuses_several_answers_is_asked_singly():
    async with FakeServer(SEVENS, many="refuse") as server:
        model = get_model("openai-api/local/m", base_url=server.base_url, api_key="none")
        log = await good(model, dwell_solver("majority:n=6"), max_samples=1)
    assert [s.metadata["dwell"]["draws"] for s in log.samples] == [6, 6, 6]
    assert server.counts.requests == 18 + 1  # found out once


def steps(context, index, rng):
    """Two lines and an answer; the capital of France for who asks whether it goes on."""
    if "France" in context.messages[0][1]:
        return "is." if context.partial else "Paris."
    lines = context.partial.count("\n")
    return f"line {index}\n" if lines < 2 else ("Answer: 7" if lines == 2 else "")


@pytest.mark.parametrize("continues", ["flags", "prefill", "repeat"])
async def test_a_search_goes_on_with_unfinished_texts_where_the_server_does(continues):
    script = Scripted.from_function(steps)
    async with FakeServer(script, continues=continues, record=True) as server:
        model = get_model("openai-api/local/m", base_url=server.base_url, api_key="none")
        log = await good(model, dwell_solver("beam:n=2,m=2,verifier=agreement"), QUESTIONS[:1])
    said = log.samples[0].output.completion
    assert re.fullmatch(r"line \d\nline \d\nAnswer: 7\n?", said)
    assert "continue_final_message" in server.counts.bodies[0]  # it was asked, in few tokens
    assert log.samples[0].metadata["dwell"]["answer"] == "7"


async def test_a_search_is_refused_where_the_model_opens_a_new_turn():
    mock = sevens()
    log = await evaluate(mock.model, dwell_solver("beam:n=4,m=2,verifier=agreement"))
    assert "beam needs partial and mockllm/model does not" in log.error.message


async def test_limits_end_a_question():
    mock = sevens()
    log = await good(mock.model, dwell_solver("majority:n=9", samples=3, tokens=1000))
    assert log.samples[0].metadata["dwell"]["status"] == "out_of_budget"
    assert log.samples[0].metadata["dwell"]["draws"] == 3


async def test_settings_of_the_evaluation_reach_every_draw_and_name_the_draws():
    mock = sevens()
    solver = dwell_solver("majority:n=2", ledger="runs")
    await good(mock.model, solver, temperature=0.5, max_tokens=7, seed=1, cache=True)
    configs = [config for _, _, config in mock.calls]
    assert {(c.temperature, c.max_tokens) for c in configs} == {(0.5, 7)}
    assert len({c.seed for c in configs}) == 6  # one for each draw, or all would be the same
    await good(mock.model, solver, temperature=0.6, max_tokens=7)
    assert len(mock.calls) == 12
    names = [model["name"] for model in analyse("runs")["study"]["models"]]
    assert names == [f"mockllm/model max_tokens=7 temperature={t}" for t in (0.5, 0.6)]


async def test_around_multiple_choice_the_vote_is_on_letters():
    mock = Mock(lambda k: f"thinking {k}\nANSWER: {'BAA'[k % 3]}")
    question = [Sample(input="which", choices=["yes", "no"], target="A")]
    solver = dwell_solver("majority:n=3", checker="choice", around=multiple_choice())
    log = await good(mock.model, solver, question, choice())
    assert log.results.scores[0].metrics["accuracy"].value == 1.0
    assert log.samples[0].metadata["dwell"]["votes"][0] == {"answer": "A", "count": 2}


async def test_messages_that_are_no_text_are_sent_as_they_came():
    image = ContentImage(image="data:image/png;base64,iVBORw0KGgo=")
    message = ChatMessageUser(content=[ContentText(text="what is it"), image])
    mock = sevens()
    solver = [system_message("Be brief."), dwell_solver("majority:n=2", ledger="runs")]
    await good(mock.model, solver, [Sample(input=[message], target="7")])
    system, user = mock.calls[0][0]
    assert isinstance(system, ChatMessageSystem)
    assert user.content[1].image == image.image
    assert "iVBORw0KGgo" not in Path("runs/problems.jsonl").read_text()


async def test_tools_are_called_by_vote_until_there_is_an_answer():
    @tool
    def add():
        async def execute(x: int, y: int):
            """Add two numbers.

            Args:
                x: one.
                y: the other.
            """
            return str(x + y)

        return execute

    def write(k):
        if k < 3:
            arguments = {"x": 3, "y": 4} if k else {"x": 0, "y": 0}
            return ModelOutput.for_tool_call("mockllm/model", "add", arguments)
        return "Answer: 7"

    mock = Mock(write)
    from inspect_ai.solver import use_tools

    solver = [use_tools(add()), dwell_solver("majority:n=3")]
    log = await good(mock.model, solver, QUESTIONS[:1])
    roles = [message.role for message in log.samples[0].messages]
    assert roles == ["user", "assistant", "tool", "assistant"]
    assert log.samples[0].messages[2].text == "7"
    assert len(mock.calls) == 6


async def test_reasoning_is_kept_beside_the_answer():
    def write(k):
        content = [ContentReasoning(reasoning=f"because {k}"), ContentText(text="Answer: 7")]
        output = ModelOutput.from_message(ChatMessageAssistant(content=content))
        output.usage = ModelUsage(
            input_tokens=2,
            input_tokens_cache_read=8,
            output_tokens=9,
            reasoning_tokens=4,
            total_tokens=19,
        )
        return output

    log = await good(Mock(write).model, dwell_solver("majority:n=2"), QUESTIONS[:1])
    sample = log.samples[0]
    assert sample.messages[-1].content[0].reasoning == "because 0"
    assert sample.metadata["dwell"]["votes"] == [{"answer": "7", "count": 2}]
    assert sample.metadata["dwell"]["charged"]["prompt_tokens"] == 20


async def test_a_judge_is_the_model_of_its_role():
    judge = Mock(lambda k: f"Score: {(2, 9)[k % 2]}")
    mock = Mock(lambda k: f"Answer: {k}")
    solver = dwell_solver("best_of_n:n=2,verifier=judge", judges={"judge": {}}, ledger="runs")
    roles = {"judge": judge.model}
    log = await good(mock.model, solver, QUESTIONS[:1], model_roles=roles)
    assert log.samples[0].output.completion == "Answer: 1"
    assert log.samples[0].metadata["dwell"]["charged"]["verifier_tokens"] > 0
    assert len(judge.calls) == 2


async def test_without_its_role_the_evaluated_model_judges():
    mock = Mock(lambda k: f"Answer: {k}\nScore: {5 + k}")
    solver = dwell_solver("best_of_n:n=2,verifier=judge", judges={"judge": {}})
    log = await good(mock.model, solver, QUESTIONS[:1])
    assert len(mock.calls) == 4
    assert len(log.samples[0].metadata["dwell"]["scores"]) == 2


def test_another_loop_than_asyncio_is_refused():
    with pytest.raises(UsageError, match="runs on asyncio"):
        dwell_solver()(None, None).send(None)


async def test_a_failed_call_is_no_vote_and_a_question_without_any_is_an_error():
    def write(k):
        error = ModelOutput.from_content("mockllm/model", "", stop_reason="content_filter")
        return error if k != 1 else "Answer: 7"

    log = await good(Mock(write).model, dwell_solver("majority:n=3"), QUESTIONS[:1])
    assert log.samples[0].metadata["dwell"]["failed_draws"] == 2
    log = await evaluate(Mock(lambda k: write(0)).model, dwell_solver("majority:n=2"))
    assert "at least one whole answer" in log.error.message


async def test_a_limit_of_inspect_ends_the_sample_as_it_does_without_us():
    mock = sevens()
    log = await good(mock.model, dwell_solver("majority:n=9"), token_limit=40)
    assert log.samples[0].limit.type == "token"


async def test_what_was_drawn_before_a_time_limit_is_in_the_folder():
    async def answer(messages, tools, tool_choice, config):
        made.append(1)
        await asyncio.sleep(0.1 if len(made) <= 2 else 60)
        output = ModelOutput.from_content("mockllm/model", "Answer: 7")
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return output

    made = []
    model = get_model("mockllm/model", custom_outputs=answer)
    solver = dwell_solver("majority:n=4", ledger="runs")
    log = await good(model, solver, QUESTIONS[:1], time_limit=2)
    assert log.samples[0].limit.type == "time"
    with Ledger("runs/ledger.db", read_only=True) as ledger:
        assert ledger.totals().draws == 2


def test_a_text_that_only_looks_like_a_tool_call_stays_a_text():
    good = '<tool_call>\n{"name": "add", "arguments": {"x": 1}}\n</tool_call>'
    assert _calls_in(good) == ([{"name": "add", "arguments": {"x": 1}}], "")
    for text in ("<tool_call>\n{broken\n</tool_call>", good.replace('{"x": 1}', '"x"')):
        assert _calls_in(text) == ([], text)


async def test_a_folder_keeps_one_way_to_read_answers():
    await good(sevens().model, dwell_solver("majority:n=2", ledger="runs"))
    log = await evaluate(sevens().model, dwell_solver(ledger="runs", checker="number"))
    assert "reads those of inspect with the checker vote" in log.error.message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"strategy": "majority:m=3"}, "takes the parameters"),
        ({"strategy": "best_of_n:verifier=judge"}, "must be known"),
        ({"checker": "code"}, "runs programs"),
        ({"strategy": 8}, "must be one or its name"),
        ({"samples": "many"}, "`samples` must be a number above 0"),
        ({"seed": "x"}, "`seed` must be a whole number"),
    ],
)
def test_what_cannot_run_is_refused_when_the_solver_is_made(arguments, message):
    with pytest.raises(UsageError, match=message):
        dwell_solver(**arguments)


async def test_methods_that_read_the_right_answer_are_refused():
    log = await evaluate(sevens().model, dwell_solver("best_of_n:n=2,verifier=exact"))
    assert "must not read the right answer" in log.error.message


async def test_without_configuration_a_role_model_is_the_evaluated_one():
    config = GenerateConfig(temperature=0.3)
    model = get_model("mockllm/model", custom_outputs=sevens().model.api.outputs, config=config)
    log = await good(model, dwell_solver("majority:n=1"), QUESTIONS[:1])
    assert log.samples[0].metadata["dwell"]["draws"] == 1
