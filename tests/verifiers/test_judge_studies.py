"""Judges in whole runs: what they choose, what they are charged, and that nobody pays twice."""

import asyncio
import math
import re
import sqlite3
import time

import numpy as np
import pytest
from world import PROBLEM, drive

import study_world
from dwell.driver import Driver, RunPlan
from dwell.errors import SpendLimitReached, UsageError
from dwell.generators import Scripted
from dwell.generators.fake_server import FakeServer
from dwell.generators.registry import make_generator
from dwell.generators.scripted import split_tokens
from dwell.ledger import Ledger
from dwell.records import Candidate, Problem
from dwell.requests import Verify
from dwell.strategies import BestOfN
from dwell.study import Study, solve
from dwell.study_file import check_study, parse_study
from dwell.study_toml import to_toml
from dwell.tasks import get_task
from dwell.verifiers import Judge

P, Q, N = 0.3, 0.8, 6
FENCE = re.compile(r"<<<(answer(?: \d+)?|A|B) ([0-9a-f]{12})>>>\n(.*?)\n<<<end of \1 \2>>>", re.S)
SHOWN = re.compile(r"<<<problem ([0-9a-f]{12})>>>\n(.*?)\n<<<end of problem \1>>>", re.S)
JUDGED = {
    "seed": 3,
    "budgets": [1, 4],
    "models": [{"name": "coin:0.6"}],
    "tasks": [{"name": "chain", "problems": 6}],
    "strategies": [{"name": "best_of_n", "verifier": "strict"}],
    "judges": [{"name": "strict", "model": "openai:judge", "base_url": "http://h/v1"}],
}


class Lines:
    """A task whose answer is the last line."""

    name = "lines"

    def extract(self, problem, text):
        return text.splitlines()[-1] if text else None

    def check(self, problem, answer):
        return answer == problem.reference


def solver():
    """Right with probability P; no two texts are alike, so each is judged on its own."""
    return Scripted.from_function(
        lambda context, index, rng: f"{rng.integers(1 << 60)}\n{int(rng.random() < P)}",
        name="solver",
    )


def judge_right_with(q, **judging):
    """A judge whose verdict on one answer is right with probability q."""

    def said(context, index, rng):
        ((_, _, text),) = FENCE.findall(context.messages[-1][1])
        is_right = text.endswith("1")
        return "Yes" if is_right == (rng.random() < q) else "No"

    return Judge(Scripted.from_function(said, name=f"judge {q}"), scale="yes_no", **judging)


def run(problems, strategy, judge, ledger):
    """The answers of a strategy, in the order of the problems, and the sessions."""
    sessions = {}
    driver = Driver(
        ledger,
        generators={"solver": solver()},
        verifiers={"judge": judge},
        tasks={"lines": Lines()},
        on_done=lambda session: sessions.setdefault(session.problem.id, session),
    )
    plans = [
        RunPlan(name=f"{judge.fingerprint} {one.id}", strategy=strategy, problem=one)
        for one in problems
    ]
    asyncio.run(driver.run(plans))
    return [sessions[one.id] for one in problems]


def problems(count):
    return [Problem(id=f"p{k}", prompt=f"Q{k}", task="lines", reference="1") for k in range(count)]


def test_best_of_n_by_a_judge_right_with_probability_q_has_the_expected_accuracy():
    """The first answer that the judge accepts, or the first of all where it accepts none."""
    count = 800
    with Ledger(":memory:") as ledger:
        done = run(problems(count), BestOfN(n=N, verifier="judge"), judge_right_with(Q), ledger)
    accuracy = np.mean([session.answer == "1" for session in done])
    accepted = P * Q + (1 - P) * (1 - Q)
    none = (1 - accepted) ** N
    expected = (1 - none) * P * Q / accepted + none * P * (1 - Q) / (1 - accepted)
    assert abs(accuracy - expected) < 4 * math.sqrt(expected * (1 - expected) / count)
    assert expected > P + 0.25


def test_more_votes_make_a_better_choice():
    with Ledger(":memory:") as ledger:
        hits = [
            np.mean([s.answer == "1" for s in run(
                problems(200), BestOfN(n=N, verifier="judge"),
                judge_right_with(0.7, votes=votes), ledger,
            )])
            for votes in (1, 9)
        ]  # fmt: skip
    assert hits[1] > hits[0] + 4 * math.sqrt(0.5 / 200)


def test_the_judge_s_tokens_are_charged_and_recorded_and_not_paid_twice(tmp_path):
    path, strategy = tmp_path / "ledger.db", BestOfN(n=3, verifier="judge")
    with Ledger(path) as ledger:
        (first,) = run(problems(1), strategy, judge_right_with(Q), ledger)
        total = ledger.totals().spent

    def nobody(context, index, rng):
        raise AssertionError("the judge was asked again")

    with Ledger(path) as ledger:
        silent = Judge(Scripted.from_function(nobody, name="judge 0.8"), scale="yes_no")
        silent.fingerprint = judge_right_with(Q).fingerprint
        plan = RunPlan(name="again", strategy=strategy, problem=problems(1)[0])
        again = []
        driver = Driver(
            ledger, generators={"solver": solver()}, verifiers={"judge": silent},
            tasks={"lines": Lines()}, on_done=again.append,
        )  # fmt: skip
        asyncio.run(driver.run([plan]))
        assert ledger.totals().spent == total
    charged = first.meter.charged()
    assert charged.verifier_tokens == total.verifier_tokens > 0
    assert again[0].answer == first.answer
    assert again[0].meter.charged() == charged


def test_a_budget_that_the_judge_does_not_fit_ends_the_run_without_its_scores():
    found = solve(
        problems(1)[0], BestOfN(n=3, verifier="judge"), solver(), {"verifier_tokens": 10},
        tasks={"lines": Lines()}, verifiers={"judge": judge_right_with(Q)},
    )  # fmt: skip
    assert found.status == "out_of_budget"
    assert found.charged.verifier_tokens == 0
    assert found.answer in ("0", "1")


def test_a_group_is_judged_in_one_request_with_one_account():
    group = [f"{k}\n1" for k in range(3)]

    def ask(problem, rng):
        replies = yield Verify(tuple(candidates), "judge", "group", samples=2)
        return repr(replies)

    candidates = [Candidate(PROBLEM.context(), text, "end", "1", 0, 1) for text in group]
    ranker = Scripted.from_list(["Ranking: 1 > 2 > 3"])
    judge = Judge(ranker, kind="group", votes=3)
    session = drive(ask, verifiers={"judge": judge})
    scores = eval(session.answer)  # the reply's own repr: a tuple of floats
    assert sum(scores) == pytest.approx(1.5)
    assert session.meter.charged().verifier_tokens > 6 * 5


def mean_scores(judge, texts, mode, samples):
    """Scores of texts by one `Verify` with that many samples."""

    def ask(problem, rng):
        replies = yield Verify(tuple(candidates), "judge", mode, samples=samples)
        return repr(replies)

    candidates = [Candidate(PROBLEM.context(), text, "end", "1", 0, 1) for text in texts]
    return eval(drive(ask, verifiers={"judge": judge}).answer)


def test_samples_of_comparisons_average_shares_won_and_keep_their_margin():
    def prefers(context, index, rng):
        """The text with the larger number, with odds that grow with the difference."""
        one, two = (int(m[2].split()[0]) for m in FENCE.findall(context.messages[-1][1]))
        return "AB"[rng.random() < 1 / (1 + 3.0 ** (one - two))]

    judge = Judge(Scripted.from_function(prefers), kind="pairwise")
    shares = mean_scores(judge, ["0\n1", "1\n1", "3\n1"], "group", 60)
    # one order names text i with p = 3^d / (1 + 3^d); both name it with p^2, neither with (1-p)^2
    wins = {
        d: (1 + (p := 3**d / (1 + 3**d)) ** 2 - (1 - p) ** 2) / 2 for d in (-3, -2, -1, 1, 2, 3)
    }
    expected = [wins[-1] + wins[-3], wins[1] + wins[-2], wins[2] + wins[3]]
    spread = 0.5 / np.sqrt(2 * 60)  # a comparison's deviation is at most 1/2
    np.testing.assert_allclose(shares, np.array(expected) / 2, atol=4 * spread)
    assert shares[0] < shares[1] < shares[2] < 1


def test_samples_of_a_counted_verdict_do_not_sharpen_it_but_votes_do():
    yes = Scripted.from_list(["Yes"])
    samples = mean_scores(Judge(yes, scale="yes_no"), ["2\n1"], "outcome", 9)
    votes = mean_scores(Judge(yes, scale="yes_no", votes=9), ["2\n1"], "outcome", 1)
    assert samples[0] == pytest.approx(2 / 3)
    assert votes[0] == pytest.approx(10 / 11)


def model(name, **options):
    """The study's solver, or a judge that knows the truth; it counts its replies."""
    if name != "openai:judge":
        return study_world.model()

    def said(context, index, rng):
        text = context.messages[-1][1]
        (_, prompt), answers = SHOWN.findall(text)[0], [m[2] for m in FENCE.findall(text)]
        right = [a.endswith(f"A{get_task('chain').reference(prompt)}\n") for a in answers]
        made.append(1)
        if len(answers) == 2:
            return "TIE" if right[0] == right[1] else "AB"[right[1]]
        return "Score: 10" if right[0] else "Score: 1"

    made = model.made
    return Scripted.from_function(said, name="truthful")


@pytest.fixture
def judged(monkeypatch):
    model.made = []
    monkeypatch.setattr("dwell.study.make_generator", model)


@pytest.mark.parametrize("kind", ["pointwise", "pairwise"])
def test_a_study_names_its_judge_and_does_not_ask_twice(tmp_path, judged, kind):
    mode = {"mode": "group"} if kind == "pairwise" else {}
    strategy = {"name": "best_of_n", "verifier": "strict", **mode}
    oracle = {"name": "best_of_n", "verifier": "exact"}
    judge = {**JUDGED["judges"][0], "kind": kind}
    spec = check_study({**JUDGED, "strategies": [strategy, oracle], "judges": [judge]})
    done = Study(spec, tmp_path).run()
    asked = len(model.made)
    assert asked > 0
    rows = dict(sqlite3.connect(tmp_path / "ledger.db").execute(
        "SELECT r.name, a.value FROM answer a JOIN run r ON r.id = a.run"
    ))  # fmt: skip
    assert len(rows) == done.runs_done == 24
    right = {s.verifier: 0 for _, _, s in spec.strategies_at()}
    study = Study.load(tmp_path)
    assert study.spec == spec
    for plan in study.plans(spec.models[0]):
        reference = get_task("chain").reference(plan.problem.prompt)
        right[plan.strategy.verifier] += rows[plan.name] == reference
    assert right["strict"] == right["exact"]  # a judge that knows the truth is an oracle
    assert study.run(check=True).draws_new == 0
    assert len(model.made) == asked


def test_judges_of_a_study_are_checked_before_anything_runs():
    spec = check_study({**JUDGED, "judges": [
        {**JUDGED["judges"][0], "template": 'a "b"\n{problem}{answer}{ask}', "votes": 3},
    ]})  # fmt: skip
    assert parse_study(to_toml(spec)) == spec
    assert spec.judges[0].as_model().name == "openai:judge"
    for change, rule in (
        ({"name": "exact"}, "name of its own"), ({"kind": "pairwise"}, 'mode = "group"'),
        ({"kind": "panel"}, "judges.0.kind"), ({"template": "{problem}"}, "answer"),
        ({"votes": 0}, "judges.0.votes"), ({"mood": "bad"}, "judges.0.mood"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=rule):
            check_study({**JUDGED, "judges": [{**JUDGED["judges"][0], **change}]})
    with pytest.raises(UsageError, match="strict"):
        check_study({**JUDGED, "judges": JUDGED["judges"] * 2})


async def test_a_judge_on_an_endpoint_is_counted_by_the_server_too(tmp_path, monkeypatch):
    def some(name, **options):
        return make_generator(name, **options) if "judge" in name else study_world.model()

    monkeypatch.setattr("dwell.study.make_generator", some)
    script = Scripted.from_list(["Well.\nScore: 7"])
    async with FakeServer(script, record=True) as server:
        judges = [{**JUDGED["judges"][0], "base_url": server.base_url, "kind": "critique"}]
        spec = check_study({**JUDGED, "judges": judges})
        begin = time.monotonic()
        await asyncio.to_thread(Study(spec, tmp_path).run)
        assert time.monotonic() - begin < 20
        with Ledger(tmp_path / "ledger.db") as ledger:
            spent = ledger.totals().spent
        rows = sqlite3.connect(tmp_path / "ledger.db").execute(
            "SELECT d.value FROM draw d JOIN key k ON k.id = d.key WHERE k.op = 'verify'"
        ).fetchall()  # fmt: skip
        assert len(rows) == server.counts.requests > 0
        assert {round(value, 9) for (value,) in rows} == {round(6 / 9, 9)}
        read = sum(len(split_tokens(b["messages"][0]["content"])) for b in server.counts.bodies)
        assert spent.verifier_tokens == read + server.counts.output_tokens


class Dear:
    """Another generator at a cent a reply, which is also the most that one can cost."""

    def __init__(self, inner):
        self.inner, self.replies = inner, 0

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def most_usd(self, request):
        return 0.01

    async def generate(self, work):
        outcomes = await self.inner.generate(work)
        for draw in (draw for outcome in outcomes for draw in outcome.draws):
            draw.usd = 0.01
            self.replies += 1
        return outcomes


@pytest.mark.parametrize("votes", [1, 3])
def test_a_limit_on_dollars_holds_for_judges_too(votes):
    said = Dear(Scripted.from_list(["Score: 5"], max_batch=4, concurrency=2))
    judge = Judge(said, votes=votes)
    with Ledger(":memory:") as ledger:
        driver = Driver(
            ledger, generators={"solver": solver()}, verifiers={"judge": judge},
            tasks={"lines": Lines()}, spend_limits={"usd": 0.205},
        )  # fmt: skip
        strategy = BestOfN(n=N, verifier="judge")
        plans = [RunPlan(name=one.id, strategy=strategy, problem=one) for one in problems(20)]
        with pytest.raises(SpendLimitReached):
            asyncio.run(driver.run(plans))
        assert said.replies == 20 // votes * votes
        assert ledger.totals().spent.usd == pytest.approx(0.01 * said.replies)
