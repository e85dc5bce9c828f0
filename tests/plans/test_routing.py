import numpy as np

from dwell.plans.options import Probe
from dwell.plans.routing import policy_of
from dwell.plans.search import Found, Menu
from dwell.plans.wording import policy_lines
from dwell.strategies import make

SHORT, LONG = make("majority", n=4), make("majority", n=16)
VOTES = Probe(draws=4, features=("leader_votes",))
BOTH = Probe(draws=4, features=("leader_votes", "top_score"), score="score")
CUTS = ((1.0, 2.0, 3.0, 4.0),)


def policy(probe, cuts, taken, share=None):
    table = np.ones((len(taken), 2, 1), np.float32)
    share = tuple(np.ones(len(taken)) if share is None else share)
    menu = Menu(right=table, cost=table, probe=probe, cuts=cuts, share=share)
    return policy_of(Found(menu=0, taken=np.array(taken)), [menu], [SHORT, LONG])


def test_neighbouring_cells_with_one_strategy_are_one_route():
    found = policy(VOTES, CUTS, [1, 1, 1, 0, 0])
    assert [route.strategy for route in found.routes] == [LONG, SHORT]
    assert policy_lines(found)[1:] == [
        "  0-2 votes for the first answer: majority:n=16",
        "  otherwise: majority:n=4",
    ]


def test_rare_cells_do_what_their_neighbours_do():
    found = policy(VOTES, CUTS, [0, 1, 0, 0, 0], share=[0.001, 0.5, 0.001, 0.3, 0.2])
    assert [route.strategy for route in found.routes] == [LONG, SHORT]
    assert found.routes[0].when[0].below == 3


def test_where_looking_changes_nothing_nothing_is_looked_at():
    found = policy(VOTES, CUTS, [1, 1, 1, 1, 1])
    assert (found.probe, [route.strategy for route in found.routes]) == (0, [LONG])


def test_two_features_make_a_table_of_boxes():
    found = policy(BOTH, ((3.0,), (0.5,)), [1, 1, 1, 0])
    assert found.score == "score"
    assert policy_lines(found, [0.5, 0.2, 0.3])[1:] == [
        "  0-2 votes for the first answer: majority:n=16 (50 % of questions)",
        "  3-4 votes for the first answer and best score < 0.5: majority:n=16 (20 % of questions)",
        "  otherwise: majority:n=4 (30 % of questions)",
    ]
