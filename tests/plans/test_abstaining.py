"""Plans that answer only where few answers are wrong."""

import numpy as np
import pytest
from plan_world import recording

from dwell.errors import UsageError
from dwell.plans import plan
from dwell.plans.abstaining import Limit, halves, thresholds_of
from dwell.plans.evidence import gather
from dwell.strategies import parse
from dwell.strategies.planned import Planned


def made(seed=0, questions=240, **options):
    asked = {"budget": 5, "repeats": 1, "abstain_risk": 0.3, "seed": seed} | options
    return plan(recording(questions=questions, seed=seed), **asked)


@pytest.fixture(scope="module")
def fresh():
    """Draws of 3000 other questions."""
    return gather(recording(questions=3000, seed=10_000), repetitions=1)


def executed(found, evidence, folder):
    """(share answered, share of those wrong) where the plan is run on many questions."""
    found.save(folder / "plan.json")
    ended = parse(f"plan:{folder / 'plan.json'}").replay(evidence.streams)
    given = ended.chosen >= 0
    return given.mean(), 1 - evidence.grades_of(ended)[given].mean()


def test_a_certified_plan_says_what_it_promises(tmp_path):
    found = made()
    record = found.record["confidence"]
    said = record["certified"]
    assert said["questions"] == 120
    assert said["p_value"] <= said["delta"] == 0.1
    assert found.record["measured_on"]["questions"] == 120
    assert f"at least {record['at_least']:g} " in " ".join(found.sentences())
    found.save(tmp_path / "plan.json")
    assert Planned(file=str(tmp_path / "plan.json")).abstains


def test_the_promise_holds_on_other_questions(fresh, tmp_path):
    answered, wrong = executed(made(), fresh, tmp_path)
    always = executed(plan(recording(questions=240), budget=5, repeats=1), fresh, tmp_path)
    assert wrong <= 0.3 < always[1]
    assert 0.3 < answered < always[0]


@pytest.mark.slow
def test_the_promise_is_broken_no_more_often_than_said(fresh, tmp_path):
    delta, count, broken, refused = 0.1, 25, 0, 0
    for seed in range(1, count + 1):
        try:
            found = made(seed, folds=2, questions=180)
        except UsageError:
            refused += 1
            continue
        broken += executed(found, fresh, tmp_path)[1] > 0.3
    assert refused < count / 2
    assert broken <= count * delta + 4 * np.sqrt(count * delta * (1 - delta))


def test_halves_keep_clusters_whole_and_share_nothing():
    clusters = np.repeat(np.arange(15), 4)
    own, other = halves(60, clusters, seed=3)
    assert len(own) == 32
    assert sorted([*own, *other]) == list(range(60))
    assert not set(clusters[own]) & set(clusters[other])


def test_one_question_of_each_cluster_certifies():
    found = made(clusters="passage", abstain_risk=0.45)
    assert found.record["confidence"]["certified"]["questions"] == 30


def test_the_most_promising_threshold_is_tested_first():
    sure = np.repeat([[0.9, 0.6, 0.3]], 40, axis=0).reshape(1, -1)
    right = np.where(sure == 0.9, 1.0, 0.0)
    edges = thresholds_of(sure, right, 120, Limit(risk=0.1))
    assert edges[0] == 0.9
    assert set(edges) == {0.3, 0.6, 0.9}


def test_a_risk_out_of_reach_is_refused_in_one_line():
    with pytest.raises(UsageError, match="299 answers without a wrong one") as refused:
        made(abstain_risk=0.01, abstain_delta=0.05)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("options", [{"abstain_risk": 0.0}, {"abstain_delta": 1.0}])
def test_limits_are_shares(options):
    with pytest.raises(UsageError, match="between 0 and 1"):
        made(**options)
