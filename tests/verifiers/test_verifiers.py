"""Verifiers: what they score, what they refuse, and that a missing statistic is never a 0."""

import math

import numpy as np
import pytest

from dwell.errors import UsageError, VerifierError
from dwell.protocols import Verifier, VerifyWork
from dwell.records import Candidate, Context, Problem
from dwell.verifiers import VERIFIERS, Agreement, Exact, make_verifier
from dwell.verifiers.certainty import result_tokens
from dwell.verifiers.process import ProcessWeak, sigmoid

PROBLEM = Problem(id="p", prompt="C1+2\n", task="sums", reference="3")


class Sums:
    name = "sums"

    def extract(self, problem, text):
        return text or None

    def check(self, problem, answer):
        assert answer is not None
        return answer == problem.reference


class Scorer:
    """Reads a text as its lines' lengths."""

    fingerprint = "scorer"

    def __init__(self):
        self.calls = 0

    def logits(self, texts):
        self.calls += 1
        return [
            ([float(len(line)) - 3 for line in text.split("\n")[:-1]], len(text) + 5)
            for _, text in texts
        ]

    def flops(self, tokens):
        return 10.0 * tokens

    def seconds(self, tokens):
        return 0.5 * tokens


def candidate(text="1+2=3\n", *, answer="3", status="end", partial="", **stats):
    context = Context(messages=(("user", PROBLEM.prompt),), partial=partial)
    return Candidate(context, text, status, answer, 0, len(text), stats)


async def scores(verifier, *candidates, mode="outcome", samples=1):
    groups = [candidates] if mode == "group" else [(c,) for c in candidates]
    count = samples * (len(candidates) if mode == "group" else 1)
    work = [
        VerifyWork(candidates=group, problem=PROBLEM, mode=mode, seeds=list(range(count)))
        for group in groups
    ]
    outcomes = await verifier.score(work)
    return [draw.value for outcome in outcomes for draw in outcome.draws]


@pytest.mark.parametrize("name", VERIFIERS)
def test_every_verifier_is_made_by_name(name):
    verifier = make_verifier(name, tasks={"sums": Sums()}, scorer=Scorer)
    assert isinstance(verifier, Verifier)
    assert verifier.name == name
    assert verifier.oracle == (name == "exact")
    assert verifier.derived == (name != "process_weak")


def test_unknown_and_incomplete_verifiers_are_refused():
    with pytest.raises(UsageError, match="oracle_of_delphi"):
        make_verifier("oracle_of_delphi")
    with pytest.raises(UsageError, match="scorer"):
        make_verifier("process_weak")


async def test_exact_checks_answers_and_leaves_the_unfinished_open():
    exact = Exact({"sums": Sums()})
    right, wrong, none = candidate(), candidate(answer="4"), candidate(answer=None)
    open_ = candidate(status="step")
    found = await scores(exact, right, wrong, none, open_)
    assert found[:3] == [1.0, 0.0, 0.0]
    assert math.isnan(found[3])
    assert await scores(exact, right, wrong, mode="group") == [1.0, 0.0]


async def test_exact_names_a_missing_task():
    with pytest.raises(VerifierError, match="sums"):
        await scores(Exact({}), candidate())


async def test_process_is_the_probability_at_the_last_step():
    values = np.array([5.0, -1.0], dtype=np.float32)
    process = make_verifier("process")
    for mode in ("outcome", "prefix"):
        found = await scores(process, candidate(step_value=values), mode=mode, samples=3)
        assert found == [pytest.approx(1 / (1 + math.e))] * 3
    (open_,) = await scores(process, candidate(step_value=np.zeros(0)))
    assert math.isnan(open_)


@pytest.mark.parametrize("logit", [-1000.0, -3.0, 0.0, 3.0, 1000.0])
def test_sigmoid_does_not_overflow(logit):
    assert sigmoid(logit) == pytest.approx(1.0 - sigmoid(-logit))


@pytest.mark.parametrize("name", ["process", "self_certainty", "worst_surprisal"])
async def test_a_missing_statistic_is_an_error_that_names_it(name):
    verifier = make_verifier(name)
    (wanted,) = verifier.wants
    with pytest.raises(VerifierError, match=f"`{wanted}`"):
        await scores(verifier, candidate())


@pytest.mark.parametrize("name", ["process", "self_certainty", "worst_surprisal", "exact"])
async def test_failed_draws_are_not_verified(name):
    verifier = make_verifier(name, tasks={"sums": Sums()})
    (found,) = await scores(verifier, candidate("", status="failed", answer=None))
    assert math.isnan(found)


async def test_weak_process_reads_each_text_and_charges_it():
    scorer = Scorer()
    verifier = ProcessWeak(scorer)
    works = [
        VerifyWork(candidates=(c,), problem=PROBLEM, mode="outcome", seeds=[1])
        for c in (candidate("12345\n"), candidate("6\n", partial="12345\n"), candidate("12"))
    ]
    outcomes = await verifier.score(works)
    draws = [outcome.draws[0] for outcome in outcomes]
    assert [draw.value for draw in draws[:2]] == [sigmoid(2.0), sigmoid(-2.0)]
    assert math.isnan(draws[2].value)
    assert [draw.output_tokens for draw in draws] == [11, 13, 7]
    assert (draws[0].flops, draws[0].seconds) == (110.0, 5.5)
    assert scorer.calls == 1


async def test_weak_process_keeps_failed_draws_apart():
    failed = candidate("boom\n", status="failed")
    found = await scores(ProcessWeak(Scorer()), failed, candidate("12345\n"), mode="group")
    assert math.isnan(found[0])
    assert found[1] == sigmoid(2.0)


async def test_self_certainty_is_the_recorded_number():
    assert await scores(make_verifier("self_certainty"), candidate(self_certainty=2.5)) == [2.5]


def test_result_tokens_follow_the_equals_sign_or_the_answer_mark():
    text = "4+5=9,3 9\nA12\n"
    marked = "".join(c for c, flag in zip(text, result_tokens(text), strict=True) if flag)
    assert marked == "9,12\n"


async def test_worst_surprisal_looks_at_result_tokens_of_the_whole_text():
    verifier = make_verifier("worst_surprisal")
    nats = np.zeros(8)
    nats[[0, 3]] = 9.0, 2.0  # "1+2=3\n": the first token is no result, the fourth is "="
    nats[4] = 3.0
    whole = candidate("=3\n", partial="1+2", surprisal=nats[:6])
    ended = candidate("1+2=3\n", surprisal=np.append(nats[:6], 99.0))  # the end token's entry
    added = candidate("=3\n", partial="1+2", surprisal=np.array([7.0, 4.0, 1.0]))
    other = candidate("1+2=3\n", surprisal=np.array([1.0, 8.0]))  # another tokenizer
    assert await scores(verifier, whole, ended, added, other) == [-3.0, -3.0, -4.0, -8.0]


async def test_worst_surprisal_without_results_takes_all_tokens():
    found = await scores(
        make_verifier("worst_surprisal"),
        candidate("12", surprisal=np.array([1.0, 2.0])),
        candidate("", surprisal=np.zeros(0)),
    )
    assert found[0] == -2.0
    assert math.isnan(found[1])


async def test_agreement_is_the_share_of_the_others():
    group = [candidate(answer=a) for a in ("3", "3", "4", None, "3")]
    found = await scores(Agreement(), *group, mode="group")
    assert found[:3] == [0.5, 0.5, 0.0]
    assert math.isnan(found[3])
    assert math.isnan((await scores(Agreement(), group[0], mode="group"))[0])
    assert len(await scores(Agreement(), *group, mode="group", samples=2)) == 10


async def test_agreement_of_one_candidate_alone_is_refused():
    with pytest.raises(VerifierError, match="group"):
        await scores(Agreement(), candidate())
