"""A study that another tool hosts: its draws are remembered, and its folder is any study's."""

import asyncio
from dataclasses import dataclass

import pytest

from dwell.errors import GeneratorError, StrategyError, UsageError
from dwell.generators.scripted import Scripted
from dwell.hosted_study import HostedStudy, HostedTask, limits_of
from dwell.ledger import Ledger
from dwell.protocols import Outcome, Strategy
from dwell.records import Draw, Problem
from dwell.requests import Generate
from dwell.results import analyse
from dwell.strategies import parse
from dwell.study import Study
from dwell.study_recording import recordings_of
from dwell.verifiers import Judge, make_verifier


class Counting:
    """Two of three answers are 7; counts what it is asked for."""

    def __init__(self, name="sevens", **options):
        self._inner = Scripted.from_function(
            lambda context, index, rng: f"thought {index}\nAnswer: {(8, 7, 7)[index % 3]}",
            name=name, **options,
        )  # fmt: skip
        self.info = {"name": name}
        self.draws = 0

    def __getattr__(self, name):
        return getattr(self._inner, name)

    async def generate(self, work):
        self.draws += sum(len(item.seeds) for item in work)
        await asyncio.sleep(0)
        return await self._inner.generate(work)


TASK = HostedTask("mine")


def question(k=0):
    return Problem(id=f"mine/{k}", prompt=f"what is it, {k}", task="mine", reference="7")


async def ask(study, model, strategy="majority:n=3", problem=None, task=TASK, **options):
    chosen = parse(strategy) if isinstance(strategy, str) else strategy
    verifiers = {name: make_verifier(name) for name in chosen.verifiers()}
    return await study.solve(
        problem or question(), chosen, model, task, verifiers=verifiers, **options
    )


async def test_the_run_has_its_answer_its_carrier_and_its_account(tmp_path):
    ran = await ask(HostedStudy(tmp_path), Counting())
    assert (ran.answer, ran.chosen.text) == ("7", "thought 1\nAnswer: 7")
    account = ran.account()
    assert account["votes"] == [{"answer": "7", "count": 2}, {"answer": "8", "count": 1}]
    assert account["confidence"] == {"agreement": 0.6667, "votes": 3, "calibrated": False}
    assert (account["draws"], account["new_draws"]) == (3, 3)


async def test_nothing_is_drawn_twice_by_whoever_asks_again(tmp_path):
    first, again = Counting(), Counting()
    one = await ask(HostedStudy(tmp_path), first)
    two = await ask(HostedStudy(tmp_path), again)
    assert (first.draws, again.draws, two.new_draws) == (3, 0, 0)
    assert two.chosen.text == one.chosen.text
    await ask(HostedStudy(tmp_path), again, "best_of_n:n=5,verifier=agreement")
    assert again.draws == 2


async def test_the_same_question_at_the_same_time_is_drawn_once(tmp_path):
    study, model = HostedStudy(tmp_path), Counting()
    strategies = [
        "majority:n=3",
        "majority:n=5",
        "sample",
        "weighted_majority:n=4,verifier=agreement",
    ]
    await asyncio.gather(*(ask(study, model, one) for one in strategies))
    assert model.draws == 5


async def test_without_a_folder_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = Counting()
    await ask(HostedStudy(None), model)
    await ask(HostedStudy(None), model)
    assert model.draws == 6
    assert not list(tmp_path.iterdir())


async def test_the_folder_is_a_study_of_all_that_was_asked(tmp_path):
    study, model = HostedStudy(tmp_path), Counting()
    for k in range(3):
        for strategy in ("majority:n=3", "majority:n=6", "best_of_n:n=2,verifier=agreement"):
            for repetition in range(2):
                await ask(study, model, strategy, question(k), repetition=repetition)
    spec = Study.load(tmp_path).spec
    assert [(s.name, s.budgets) for s in spec.strategies] == [
        ("majority", (3, 6)), ("best_of_n", (2,))
    ]  # fmt: skip
    assert spec.streams == 2
    (recording,) = recordings_of(tmp_path).recordings
    assert recording.sizes.tolist() == [12, 12, 12]
    assert recording.correct.mean() == pytest.approx(2 / 3)
    (curve,) = [one for one in analyse(tmp_path)["curves"] if one["strategy"] == "majority"]
    assert [point["accuracy"] for point in curve["points"]] == pytest.approx([0.8, 1.0])


async def test_a_strategy_that_no_study_file_can_name_leaves_a_study_of_its_draws(tmp_path):
    model, strategy = Counting(), parse("best_of_n:n=3,verifier=strict,mode=group")
    for _ in range(2):
        await HostedStudy(tmp_path).solve(
            question(), strategy, model, TASK, verifiers={"strict": make_verifier("agreement")}
        )
    assert model.draws == 3
    assert [one.name for one in Study.load(tmp_path).spec.strategies] == ["sample"]
    assert recordings_of(tmp_path).recordings[0].sizes.tolist() == [3]


async def test_questions_without_a_right_answer_are_remembered_and_not_graded(tmp_path):
    unknown = Problem(id="mine/x", prompt="what", task="mine")
    model = Counting()
    await ask(HostedStudy(tmp_path), model, problem=unknown)
    await ask(HostedStudy(tmp_path), model)
    await ask(HostedStudy(tmp_path), model, problem=unknown)
    assert model.draws == 6
    assert [problem.id for problem in Study.load(tmp_path).problems] == ["mine/0"]


async def test_limits_are_part_of_a_runs_name(tmp_path):
    study, model = HostedStudy(tmp_path), Counting()
    short = await ask(study, model, "majority:n=9", limits={"calls": 3})
    whole = await ask(study, model, "majority:n=9")
    again = await ask(study, model, "majority:n=9", limits={"calls": 3})
    assert [r.status for r in (short, whole, again)] == ["out_of_budget", "done", "out_of_budget"]
    assert model.draws == 9


@pytest.mark.parametrize(
    ("study", "model", "task", "message"),
    [
        ({"seed": 1}, {}, TASK, "begun with 0"),
        ({}, {"failure_rate": 0.5}, TASK, "with other settings"),
        ({}, {}, HostedTask("mine", "number"), "with the checker vote"),
    ],
)
async def test_a_folder_keeps_one_way_of_doing_things(tmp_path, study, model, task, message):
    await ask(HostedStudy(tmp_path), Counting())
    with pytest.raises(UsageError, match=message):
        await ask(HostedStudy(tmp_path, **study), Counting(**model), task=task)


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ("pool_vote:n=4", "one question at a time"),
        ("best_of_n:n=2,verifier=exact", "must not read the right answer"),
        ("beam:n=4,m=2,verifier=process", "does not provide"),
    ],
)
async def test_what_cannot_be_run_is_refused_by_name(strategy, message):
    model = Counting()
    model.provides = frozenset()
    strategy = parse(strategy)
    with pytest.raises(UsageError, match=message):
        await HostedStudy(None).solve(question(), strategy, model, TASK, verifiers={})


def test_a_task_has_a_name_of_its_own_and_a_checker_that_reads():
    with pytest.raises(UsageError, match="built in"):
        HostedTask("chain")
    with pytest.raises(UsageError, match="runs programs"):
        HostedTask("mine", "code")


async def test_a_question_without_a_whole_answer_is_an_error():
    failing = Counting(failure_rate=1.0)
    with pytest.raises(GeneratorError, match="none of 3 draws"):
        await ask(HostedStudy(None), failing)


@dataclass(frozen=True, kw_only=True)
class Broken(Strategy):
    """Fails after its first draw."""

    name = "broken"
    n: int = 1

    def solve(self, problem, rng):
        yield Generate(problem.context())
        raise RuntimeError("a bug")


async def test_a_strategy_that_fails_is_named():
    with pytest.raises(StrategyError, match=r"broken failed: RuntimeError: a bug"):
        await ask(HostedStudy(None), Counting(), Broken())


async def test_two_models_with_one_judge_answer_the_same_question_at_the_same_time(tmp_path):
    study, strategy = HostedStudy(tmp_path), parse("best_of_n:n=3,verifier=judge")
    judge = Judge(Counting("judge"), name="judge")
    runs = [
        study.solve(question(), strategy, Counting(name), TASK, verifiers={"judge": judge})
        for name in "ab"
    ]
    assert [ran.status for ran in await asyncio.gather(*runs)] == ["done", "done"]


async def test_questions_with_unusual_line_ends_are_read_again(tmp_path):
    for k in range(2):
        problem = Problem(id=f"mine/{k}", prompt="a\u2028b\x85c\ud800", task="mine", reference="7")
        await ask(HostedStudy(tmp_path), Counting(), problem=problem)
    assert len(Study.load(tmp_path).problems) == 2


async def test_a_host_that_cancels_until_it_is_obeyed_loses_no_draw(tmp_path):
    class Slow(Counting):
        async def generate(self, work):
            for item in work:
                if item.early is not None:
                    item.early([0], Outcome([Draw(text="Answer: 7", output_tokens=3)]))
            await asyncio.sleep(60)

    task = asyncio.ensure_future(ask(HostedStudy(tmp_path), Slow()))
    await asyncio.sleep(0.1)
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    with Ledger(tmp_path / "ledger.db", read_only=True) as ledger:
        assert ledger.totals().draws == 1


@pytest.mark.parametrize("wrong", ["abc", 0, -1, True, float("nan")])
def test_limits_are_numbers_above_zero(wrong):
    with pytest.raises(UsageError, match="`samples` must be a number above 0"):
        limits_of(samples=wrong)
    assert limits_of(samples=3, usd=0.5) == {"calls": 3.0, "usd": 0.5}
