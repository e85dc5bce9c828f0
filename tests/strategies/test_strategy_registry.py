import numpy as np
import pytest

from dwell.errors import UsageError
from dwell.records import Problem
from dwell.strategies import STRATEGIES, make, parse
from dwell.testing import PROBLEM, ToyWorld, play

POOL = Problem(id="pool", prompt="", members=(PROBLEM,))


def test_registry_holds_what_the_documentation_lists():
    assert set(STRATEGIES) == {
        "sample", "majority", "weighted_majority", "best_of_n", "adaptive_consistency",
        "early_stopping", "ppr", "marginal_gain", "verifier_threshold", "first_accepted",
        "abstaining_majority", "pool_vote", "pool_allocation", "beam", "rebase", "particle",
        "ab_mcts", "budget_forcing", "revision",
    }  # fmt: skip
    assert all(kind.paper and kind.name == name for name, kind in STRATEGIES.items())


def test_exchangeable_strategies_name_their_estimator():
    named = {name: kind.exchangeable for name, kind in STRATEGIES.items() if kind.exchangeable}
    assert named == {"sample": "pass", "majority": "vote", "best_of_n": "best"}


def test_every_strategy_can_be_made_from_its_own_spec():
    for name in STRATEGIES:
        strategy = make(name)
        assert parse(strategy.spec()) == strategy
        assert parse(f"{name}:{strategy.scale}=3").params()[strategy.scale] == 3


def test_parse_reads_values_by_the_type_of_the_parameter():
    strategy = parse(" particle: n=8 , balance=2, verifier=process_weak, temperature=none ")
    assert strategy == make("particle", n=8, balance=2.0, verifier="process_weak")
    assert "balance=2.0" in strategy.spec()
    assert make("majority", temperature=1).spec() == parse("majority:temperature=1.0").spec()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("beem:n=4", ["'beem'", "Did you mean beam?"]),
        ("tree_of_life", ["'tree_of_life'", "best_of_n"]),
        ("beam:width=4", ["width", "takes the parameters", "n"]),
        ("best_of_n:verifer=exact", ["verifer", "Did you mean verifier?"]),
        ("beam:n", ["'n'", "name=value"]),
        ("beam:n=4,n=5", ["n=5", "once"]),
        ("beam:n=four", ["n='four'", "at least 1"]),
        ("beam n=4", ["beam n=4", "name:parameter=value"]),
        ("majority:n=0", ["`n`", "n=0"]),
        ("majority:n=2.5", ["n='2.5'", "whole number"]),
        ("majority:temperature=-1", ["temperature=-1.0", "at least 0"]),
        ("majority:max_tokens=0", ["max_tokens=0"]),
        ("beam:m=0", ["m=0"]),
        ("beam:choose=worst", ["choose='worst'", "weighted"]),
        ("rebase:balance=0", ["balance=0.0", "above 0"]),
        ("particle:weight=score", ["weight='score'", "odds"]),
        ("particle:resampling=residual", ["resampling='residual'"]),
        ("best_of_n:verifier=", ["verifier=''"]),
        ("best_of_n:mode=stepwise", ["mode='stepwise'", "group"]),
        ("adaptive_consistency:threshold=1", ["threshold=1.0", "below 1"]),
        ("adaptive_consistency:rule=gamma", ["rule='gamma'", "dirichlet"]),
        ("early_stopping:window=0", ["window=0"]),
        ("ppr:num_answers=1", ["num_answers=1", "at least 2"]),
        ("marginal_gain:cost=0", ["cost=0.0", "above 0"]),
        ("first_accepted:verifier=agreement", ["agreement", "best_of_n"]),
        ("abstaining_majority:by=votes", ["by='votes'", "share"]),
        ("pool_vote:order=random", ["order='random'", "asc"]),
        ("pool_allocation:objective=cost", ["objective='cost'", "coverage"]),
        ("budget_forcing:waits=-1", ["waits=-1", "at least 0"]),
        ("revision:window=0", ["window=0"]),
        ("ab_mcts:grow=wide", ["grow='wide'", "revise"]),
    ],
)
def test_refusals_name_rule_and_offender_in_one_line(text, named):
    with pytest.raises(UsageError) as refused:
        parse(text)
    assert all(word in str(refused.value) for word in named), str(refused.value)
    assert "\n" not in str(refused.value)


def test_true_is_not_a_number_of_draws():
    with pytest.raises(UsageError, match="n=True"):
        make("majority", n=True)


def test_strategies_that_draw_whole_answers_ask_for_the_same_draws():
    first = {play(make(name, n=4), PROBLEM, ToyWorld()).requests[0]
             for name in ("sample", "majority", "weighted_majority", "best_of_n")}  # fmt: skip
    assert len(first) == 1
    for name in ("adaptive_consistency", "verifier_threshold", "revision", "ab_mcts"):
        request = play(make(name), PROBLEM, ToyWorld()).requests[0]
        assert (request.context, request.max_tokens, request.temperature) == (
            PROBLEM.context(), None, None
        )  # fmt: skip


def test_one_sample_costs_the_same_by_every_parallel_name():
    for name in ("sample", "majority", "weighted_majority", "best_of_n", "adaptive_consistency"):
        assert len(play(make(name, n=1), PROBLEM, ToyWorld()).requests) == 1


@pytest.mark.parametrize("name", [name for name in STRATEGIES if make(name).pooled])
def test_pools_need_members(name):
    with pytest.raises(UsageError, match="members"):
        play(make(name), PROBLEM, ToyWorld())


def test_strategies_leave_the_global_random_state_alone():
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    for name in STRATEGIES:
        play(make(name), POOL if make(name).pooled else PROBLEM, ToyWorld())
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002
