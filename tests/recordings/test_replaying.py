"""A recording as a model: the driver on it does what arrays compute, and copies nothing."""

import asyncio

import numpy as np
import pytest
from recorded_world import N, P, a_recording

from dwell.driver import Driver, RunPlan
from dwell.errors import VerifierError
from dwell.keys import stream_id
from dwell.ledger import Ledger
from dwell.protocols import GenerateWork, VerifyWork
from dwell.recordings import (
    RecordedExact,
    RecordedScores,
    RecordedTask,
    RecordingGenerator,
    fingerprint_of,
    orders,
    problems_of,
)
from dwell.records import Candidate, Context
from dwell.requests import Generate
from dwell.strategies import make
from dwell.strategies.adaptive import confidence
from dwell.strategies.selection import majority, top_two

SEED = 5


def replay(recording, strategy, *, repetitions=2, verifiers=None, limits=None):
    """(answers by run name, charges by run name, draws and keys in the ledger, failed runs)."""
    plans = [
        RunPlan(name=f"{p.id}|{r}", strategy=strategy, problem=p, repetition=r,
                limits=limits or {})
        for p in problems_of(recording)
        for r in range(repetitions)
    ]  # fmt: skip
    with Ledger(":memory:") as ledger:
        driver = Driver(
            ledger,
            generators={"solver": RecordingGenerator(recording)},
            verifiers=verifiers or {},
            tasks={recording.dataset: RecordedTask(recording)},
            seed=SEED,
        )
        asyncio.run(driver.run(plans))
        rows = {row.run: row for row in ledger.answers()}
        stored = ledger.totals().draws + len(ledger.sources())
        return rows, stored, ledger.failed_runs()


def dealt(recording, repetition=0):
    """`[P]` the recorded places of each question's draws, in the order of a stream."""
    order = orders(recording, repetition + 1, SEED)[repetition]
    return [order[p, : recording.sizes[p]] for p in range(len(recording.questions))]


def answers_in_order(recording, p, places):
    codes = recording.codes[p, places]
    return [None if code < 0 else recording.texts[p][code] for code in codes]


def test_a_vote_through_the_driver_is_the_vote_over_the_arrays():
    recording = a_recording()
    rows, stored, failed = replay(recording, make("majority", n=8))
    assert (stored, failed) == (0, [])
    for r in range(2):
        for p, places in enumerate(dealt(recording, r)):
            row = rows[f"q{p}|{r}"]
            assert row.value == majority(answers_in_order(recording, p, places[:8]))
            assert row.charged.calls == 8
            assert row.charged.output_tokens == recording.tokens[p, places[:8]].sum()


def test_best_of_n_through_the_driver_takes_the_best_score_among_the_answers():
    recording = a_recording()
    strategy = make("best_of_n", n=6, verifier="score")
    rows, stored, failed = replay(
        recording, strategy, verifiers={"score": RecordedScores(recording, "score")}
    )
    assert (stored, failed) == (0, [])
    for p, places in enumerate(dealt(recording)):
        answered = [i for i in places[:6] if recording.codes[p, i] >= 0]
        best = max(answered, key=lambda i: recording.columns["score"][p, i])
        assert rows[f"q{p}|0"].value == recording.texts[p][recording.codes[p, best]]


def test_adaptive_consistency_through_the_driver_stops_where_the_arrays_say():
    codes = np.where(np.arange(N) < 10, np.where(np.arange(P)[:, None] % 2, 1, 0), 2)
    recording = a_recording(codes=codes)  # nearly unanimous: it stops early
    strategy = make("adaptive_consistency", n=10)
    rows, stored, failed = replay(recording, strategy)
    assert (stored, failed) == (0, [])
    for p, places in enumerate(dealt(recording)):
        row = rows[f"q{p}|0"]
        drawn = places[: int(row.charged.calls)]
        given = answers_in_order(recording, p, drawn)
        assert row.value == majority(given)
        _, votes, second = top_two(given)
        assert confidence(votes, second) >= 0.95 or len(given) == 10
        _, votes, second = top_two(given[:-1])
        assert confidence(votes, second) < 0.95
    assert len({row.charged.calls for row in rows.values()}) > 1


def test_the_oracle_scores_each_draw_by_its_own_grade():
    recording = a_recording()
    strategy = make("best_of_n", n=10, verifier="exact")
    rows, _, _ = replay(recording, strategy, verifiers={"exact": RecordedExact(recording)})
    task = RecordedTask(recording)
    for problem, p in zip(problems_of(recording), range(P), strict=True):
        reached = bool((recording.correct[p, dealt(recording)[p][:10]] == 1).any())
        assert task.check(problem, rows[f"{problem.id}|0"].value) is reached


def test_modelled_seconds_are_the_recorded_ones():
    recording = a_recording()
    rows, _, _ = replay(recording, make("adaptive_consistency", n=8))
    for row in rows.values():
        assert row.charged.seconds == pytest.approx(2.0 * row.charged.calls)


def test_a_budget_of_tokens_holds_on_a_recording():
    rows, _, failed = replay(a_recording(), make("majority", n=8), limits={"output_tokens": 60})
    assert not failed
    assert all(row.charged.output_tokens <= 60 for row in rows.values())


def test_more_draws_than_recorded_fail_that_question_alone():
    recording = a_recording()
    rows, _, failed = replay(recording, make("majority", n=12), repetitions=1)
    short = [f"q{p}|0" for p in range(P) if recording.sizes[p] < 12]
    assert short
    assert sorted(name for name, _ in failed) == sorted(short)
    assert set(rows) == {f"q{p}|0" for p in range(P)} - set(short)
    size = recording.sizes[int(short[0][1:-2])]
    assert f"12 draws of {short[0][:-2]!r}" in dict(failed)[short[0]]
    assert f"and {size} are recorded" in dict(failed)[short[0]]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"context": Context((("user", "q1"),), "half")}, "to continue a prefix"),
        ({"context": Context((("user", "another"),))}, "an answer to another prompt"),
        ({"until": "step"}, "until"),
        ({"temperature": 0.3}, "temperature=0.3"),
        ({"max_tokens": 9}, "max_tokens=9"),
        ({"stop": ("\n",)}, "stop"),
    ],
)
def test_what_was_not_recorded_is_refused_by_name(changes, named):
    recording = a_recording()
    problem = problems_of(recording)[1]
    request = Generate(**({"context": problem.context()} | changes))
    work = GenerateWork(request=request, seeds=[0], indices=[0], problem=problem)
    with pytest.raises(ValueError, match=named):
        asyncio.run(RecordingGenerator(recording).generate([work]))


def test_a_strategy_that_continues_prefixes_fails_on_a_recording():
    strategy = make("beam", n=4, verifier="score")
    verifiers = {"score": RecordedScores(a_recording(), "score")}
    rows, _, failed = replay(a_recording(), strategy, verifiers=verifiers)
    assert not rows
    assert "lacks step" in failed[0][1]


def test_without_recorded_answers_each_draw_is_an_answer_of_its_own():
    recording = a_recording(codes=None, values=None, texts=())
    strategy = make("best_of_n", n=6, verifier="score")
    verifiers = {"score": RecordedScores(recording, "score")}
    rows, _, _ = replay(recording, strategy, verifiers=verifiers)
    task = RecordedTask(recording)
    for problem, places in zip(problems_of(recording), dealt(recording), strict=True):
        p = int(problem.id[1:])
        best = max(places[:6], key=lambda i: recording.columns["score"][p, i])
        right = task.check(problem, rows[f"{problem.id}|0"].value)
        assert right is bool(recording.correct[p, best])


def test_successive_attempts_are_not_dealt():
    with pytest.raises(ValueError, match="are successive attempts"):
        RecordingGenerator(a_recording(turns=np.zeros((P, N), dtype=int)))


def test_a_score_is_of_recorded_draws_in_outcome_mode_alone():
    recording = a_recording()
    verifier, problem = RecordedScores(recording, "score"), problems_of(recording)[0]
    other = Candidate(problem.context(), "1 ten", "end", "ten")
    work = {"candidates": (other,), "problem": problem, "seeds": [0]}
    with pytest.raises(VerifierError, match="'q0' was answered otherwise"):
        asyncio.run(verifier.score([VerifyWork(mode="outcome", **work)]))
    with pytest.raises(VerifierError, match="recorded for whole answers"):
        asyncio.run(verifier.score([VerifyWork(mode="prefix", **work)]))


def test_the_fingerprint_names_the_content():
    recording = a_recording()
    assert fingerprint_of(recording) == fingerprint_of(a_recording())
    assert fingerprint_of(recording) != fingerprint_of(a_recording(run="other"))
    assert fingerprint_of(recording) != fingerprint_of(a_recording(np.random.default_rng(1)))


def test_an_unknown_score_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"\(score, time_s\), but 'process' was not recorded"):
        RecordedScores(a_recording(), "process")


def test_streams_deal_the_orders_of_the_arrays():
    recording = a_recording()
    generator = RecordingGenerator(recording)
    problem = problems_of(recording)[3]
    work = GenerateWork(
        request=Generate(problem.context(), n=4), seeds=[0] * 4, indices=[2, 3, 4, 7],
        problem=problem, stream=stream_id(SEED, 1),
    )  # fmt: skip
    (outcome,) = asyncio.run(generator.generate([work]))
    places = [draw.stats["row"] for draw in outcome.draws]
    assert places == orders(recording, 2, SEED)[1, 3][[2, 3, 4, 7]].tolist()
