"""Every registered strategy, and its variants, against the shipped suite."""

import pytest

from dwell.protocols import Strategy
from dwell.records import Problem
from dwell.strategies import STRATEGIES, parse
from dwell.testing import StrategySuite

VARIANTS = (
    "majority:n=3,temperature=0.7,max_tokens=20",
    "weighted_majority:n=4,verifier=agreement",
    "best_of_n:n=4,mode=group",
    "adaptive_consistency:n=6,threshold=0.9",
    "adaptive_consistency:rule=dirichlet,threshold=0.8",
    "early_stopping:n=7,window=2",
    "ppr:n=12,delta=0.4,num_answers=3",
    "marginal_gain:cost=0.03",
    "verifier_threshold:threshold=0.7",
    "first_accepted:accept=0.8",
    "abstaining_majority:by=confidence,threshold=0.8",
    "pool_vote:order=ppr,window=1",
    "pool_vote:order=blend,window=2,cap=5",
    "pool_vote:order=gain,window=3,cap=7",
    "pool_allocation:objective=coverage,probe=2,cap=9",
    "pool_allocation:probe=1",
    "beam:n=6,m=2,choose=best",
    "rebase:n=5,balance=1,choose=majority",
    "particle:n=5,resampling=systematic,weight=exp,choose=weighted",
    "ab_mcts:n=9,window=3,grow=steps",
    "ab_mcts:n=7,window=1,prior=normal,history=2",
    "budget_forcing:waits=3,max_tokens=40",
    "revision:n=7,chains=3,choose=weighted,window=2",
    "revision:n=4,chains=2,choose=best",
)


class TestRegisteredStrategies(StrategySuite):
    problem = Problem(id="suite/0", prompt="Q", reference="1", markers={"wait": "W\n"})

    @pytest.fixture(params=[*STRATEGIES, *VARIANTS])
    def strategy(self, request) -> Strategy:
        return parse(request.param)
