import json
from dataclasses import replace

import numpy as np
import pytest

from dwell.errors import UsageError
from dwell.records import Problem
from dwell.requests import Generate
from dwell.strategies import make, parse
from dwell.strategies.policy import Condition, Policy, Route, policy_record, read_policy
from dwell.streams import Streams
from dwell.testing import StrategySuite, ToyWorld, play

SETTLED = Condition(feature="leader_votes", at_least=3)
SPLIT = Condition(feature="leader_votes", below=2)
POLICY = Policy(
    probe=3,
    routes=(
        Route(strategy=make("majority", n=3), when=(SETTLED,)),
        Route(strategy=make("adaptive_consistency", n=8), when=(SPLIT,)),
        Route(strategy=make("majority", n=6)),
    ),
)
SCORED = Policy(
    probe=2,
    score="process",
    routes=(
        Route(
            strategy=make("best_of_n", n=2),
            when=(Condition(feature="top_score", at_least=0.5),),
        ),
        Route(strategy=make("weighted_majority", n=5)),
    ),
)


def plan_file(folder, policy):
    path = folder / "plan.json"
    path.write_text(json.dumps({"dwell_plan": 1, "policy": policy_record(policy)}))
    return path


class TestPlan(StrategySuite):
    problem = Problem(id="suite/0", prompt="Q", reference="1")

    @pytest.fixture(params=[POLICY, SCORED, Policy(routes=POLICY.routes[2:])])
    def strategy(self, request, tmp_path):
        return make("plan", file=str(plan_file(tmp_path, request.param)))


def test_a_plan_is_named_by_its_file_alone_or_by_its_whole_spec(tmp_path):
    strategy = parse(f"plan:{plan_file(tmp_path, POLICY)}")
    assert strategy == parse(strategy.spec())
    assert strategy.digest in strategy.spec()


def test_a_run_is_not_resumed_with_another_plan(tmp_path):
    strategy = parse(f"plan:{plan_file(tmp_path, POLICY)}")
    plan_file(tmp_path, SCORED)
    with pytest.raises(UsageError, match="another file name"):
        parse(strategy.spec())


def test_probe_draws_are_asked_for_once(tmp_path):
    strategy = parse(f"plan:{plan_file(tmp_path, POLICY)}")
    for seed in range(20):
        asked = [r.n for r in play(strategy, TestPlan.problem, ToyWorld(seed)).requests
                 if isinstance(r, Generate)]  # fmt: skip
        assert asked[0] == 3
        assert asked[1:] in ([], [3]) or set(asked[1:]) == {1}
        assert sum(asked) <= 8


def test_routes_hold_by_count_and_fall_through_to_the_last():
    codes = np.array([[0, 0, 0, 1], [0, 1, 2, 0], [0, 0, 1, 0], [-1, -1, -1, 0]])
    streams = Streams(codes=codes, sizes=np.full(4, 4))
    assert POLICY.route(streams).tolist() == [0, 1, 2, 1]


def test_a_score_that_is_missing_takes_the_cautious_route():
    scores = {"process": np.array([[np.nan] * 5, [0.1, 0.6, 0, 0, 0]])}
    streams = Streams(codes=np.zeros((2, 5), int), sizes=np.full(2, 5), scores=scores)
    assert SCORED.route(streams).tolist() == [1, 0]


def test_policies_survive_their_file():
    for policy in (POLICY, SCORED):
        record = json.loads(json.dumps(policy_record(policy)))
        assert read_policy(record, parse, "x.json") == policy


def test_a_cap_within_the_probe_leaves_the_probe_out():
    capped = POLICY.capped(2)
    assert (capped.probe, capped.routes) == (0, (Route(strategy=make("majority", n=2)),))
    assert POLICY.capped(4).routes[1].strategy == make("adaptive_consistency", n=4)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"routes": []}, "policy.routes"),
        ({"routes": [{"when": {}}]}, "`strategy`"),
        ({"routes": [{"strategy": "majorty:n=3"}]}, "Did you mean majority"),
        ({"routes": [{"strategy": "majority:n=3", "when": {"mood": {}}}]}, "leader_votes"),
        ({"routes": [{"strategy": "majority:n=3", "when": {"leader_votes": 3}}]}, "at_least"),
        ({"probe": {"draws": "four"}}, "probe.draws"),
        ({"probe": None}, "policy.probe"),
        ({"probe": {"draws": 2, "score": 7}}, "probe.score"),
        ({"routes": [{"strategy": "majority:n=3",
                      "when": {"leader_votes": {"below": 2}}}]}, "last route"),
    ],
)  # fmt: skip
def test_a_broken_policy_is_refused_in_one_line(change, named):
    with pytest.raises(UsageError) as refused:
        read_policy(policy_record(POLICY) | change, parse, "x.json")
    assert named in str(refused.value)
    assert str(refused.value).startswith("x.json")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"dwell_plan": 2}'])
def test_what_is_no_plan_file_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"plan\.json") as refused:
        parse(f"plan:{path}")
    assert "\n" not in str(refused.value)
    with pytest.raises(UsageError, match="No such file"):
        parse("plan:nowhere.json")


def test_a_route_that_needs_more_than_whole_answers_cannot_be_replayed():
    policy = replace(POLICY, routes=(Route(strategy=make("beam")),), probe=0)
    assert policy.replay(Streams(codes=np.zeros((1, 4), int), sizes=np.array([4]))) is None
