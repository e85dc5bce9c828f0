import math

import numpy as np
import pytest

from dwell.records import Candidate
from dwell.requests import Generate, Next, Start, Verify
from dwell.strategies import make
from dwell.strategies.branching import Arm, Node, widen_or_descend
from dwell.testing import PROBLEM, play


def candidate(answer="1", status="end"):
    return Candidate(PROBLEM.context(), answer or "", status, answer)


def arm(*scores):
    made = Arm()
    for score in scores:
        made.add(score)
    return made


def revising(fresh, revised, seed=0):
    """Scores by how the answer came about: `fresh` at the root, `revised` below."""
    noise = np.random.default_rng(seed)

    def reply(request):
        if isinstance(request, Generate):
            return ["r" if len(request.context.messages) > 1 else "f"] * request.n
        means = [revised if c.answer == "r" else fresh for c in request.candidates]
        return np.clip(means + noise.normal(0, 0.05, len(means)), 0, 1)

    return reply


def share_of_revisions(fresh, revised, **params):
    counts = []
    for seed in range(8):
        world = revising(fresh, revised, seed)
        played = play(make("ab_mcts", n=24, window=1, **params), PROBLEM, world, seed=seed)
        asked = [r for r in played.requests if isinstance(r, Generate)]
        counts.append(np.mean([len(r.context.messages) > 1 for r in asked]))
    return float(np.mean(counts))


def test_beta_arm_samples_its_posterior():
    rng, many = np.random.default_rng(1), 4_000
    draws = np.array([arm(0.9, 0.8, math.nan, 0.2).sample("beta", rng) for _ in range(many)])
    a, b = 0.5 + 1.9, 0.5 + 1.1
    variance = a * b / ((a + b) ** 2 * (a + b + 1))
    assert abs(draws.mean() - a / (a + b)) < 4 * math.sqrt(variance / many)


def test_normal_arm_samples_its_posterior():
    # n = 8, mean 2, spread 0: kappa = nu = 9, m = 16/9, nu tau^2 = 0.1 + 8 * 4 / 9; the mean has a
    # t law with 9 degrees of freedom: variance tau^2 / kappa * 9/7.
    rng, many = np.random.default_rng(2), 4_000
    draws = np.array([arm(*[2.0] * 8).sample("normal", rng) for _ in range(many)])
    variance = (0.1 + 32 / 9) / 9 / 9 * 9 / 7
    assert abs(draws.mean() - 16 / 9) < 4 * math.sqrt(variance / many)
    assert abs(draws.var() / variance - 1) < 4 * math.sqrt(5 / many)


def test_a_score_counts_for_making_at_the_parent_and_for_depth_above():
    root = Node()
    child = root.add([candidate()], 0.3)
    grandchild = child.add([candidate()], 0.9)
    assert (root.widen.total, root.widen.count) == (0.3, 1)
    assert (root.deepen.total, root.deepen.count) == (0.9, 1)
    assert (child.value.total, child.value.count) == (pytest.approx(1.2), 2)
    assert (child.widen.total, child.deepen.count) == (0.9, 0)
    assert (grandchild.value.total, grandchild.value.count) == (0.9, 1)
    assert root.value.count == 0


def test_a_chain_of_steps_counts_its_score_once_in_each_posterior():
    root = Node()
    stem = root.add([candidate()], 0.5)
    leaf = stem.add([candidate(), candidate()], 0.8)
    middle = leaf.parent
    assert middle.parent is stem
    assert [node.value.count for node in (stem, middle, leaf)] == [2, 1, 1]
    assert [node.widen.count for node in (root, stem, middle, leaf)] == [1, 1, 1, 0]
    assert [node.deepen.count for node in (root, stem, middle)] == [1, 0, 0]


def test_a_node_without_open_children_widens():
    rng, root = np.random.default_rng(0), Node()
    assert widen_or_descend(root, "beta", rng) is None
    root.add([candidate()], 1.0).closed = True
    assert all(widen_or_descend(root, "beta", rng) is None for _ in range(50))


def test_descent_prefers_the_child_with_the_better_subtree():
    rng, root = np.random.default_rng(0), Node()
    bad, good = root.add([candidate()], 0.1), root.add([candidate()], 0.9)
    for _ in range(30):
        bad.add([candidate()], 0.1)
        good.add([candidate()], 0.9)
    root.widen = arm(*[0.0] * 200)
    went = [widen_or_descend(root, "beta", rng) for _ in range(100)]
    assert sum(node is good for node in went) > 95


@pytest.mark.parametrize("prior", ["beta", "normal"])
def test_search_deepens_where_revising_helps_and_widens_where_it_harms(prior):
    helped = share_of_revisions(0.3, 0.8, prior=prior)
    harmed = share_of_revisions(0.8, 0.3, prior=prior)
    assert helped > 0.75
    assert harmed < 0.45
    assert helped - harmed > 0.4


def driven(strategy):
    """The answer, and how many expansions were started, and in flight at most and at the end."""
    solution = strategy.solve(PROBLEM, np.random.default_rng(0))
    flying, most, started, reply = [], 0, 0, None
    while True:
        try:
            item = solution.send(reply)
        except StopIteration as stop:
            return stop.value, started, most, len(flying)
        reply = None
        if isinstance(item, Start):
            started += 1
            flying.append(item.tag)
            most = max(most, len(flying))
        elif isinstance(item, Next):
            tag = flying.pop(0)
            reply = (tag, ([candidate(str(tag))], 0.1 * tag))


def test_window_expansions_are_in_flight_and_each_is_waited_for():
    assert driven(make("ab_mcts", n=10, window=3)) == ("9", 10, 3, 0)
    assert driven(make("ab_mcts", n=2, window=3)) == ("1", 2, 2, 0)


def test_up_to_the_window_it_is_best_of_n():
    replies = [["1"], [0.2], ["2"], [0.7], ["3"], [0.4]]
    played = play(make("ab_mcts", n=3, window=8), PROBLEM, replies)
    assert played.answer == "2"
    assert {r.context for r in played.requests if isinstance(r, Generate)} == {PROBLEM.context()}
    assert played.emitted == ("1", "2")


def test_one_expansion_is_one_sample_and_is_not_verified():
    played = play(make("ab_mcts", n=1), PROBLEM, [["7"]])
    assert (played.answer, len(played.requests)) == ("7", 1)


def test_revision_shows_the_attempts_on_its_path():
    found = set()
    for seed in range(4):
        world = revising(0.1, 0.9, seed)
        played = play(make("ab_mcts", n=24, history=2), PROBLEM, world, seed=seed)
        found |= {len(r.context.messages) for r in played.requests if isinstance(r, Generate)}
    assert found == {1, 3, 5}


def test_steps_branch_from_prefixes_and_finish_every_expansion():
    def world(request):
        if isinstance(request, Verify):
            return [0.9 if c.text.startswith("good") else 0.1 for c in request.candidates]
        lines = request.context.partial.count("\n")
        first = ["good\n", "bad\n"][request.context.partial.count("x") % 2]
        return [first if lines == 0 else "x\n" if lines < 3 else "5"] * request.n

    strategy = make("ab_mcts", n=12, grow="steps", window=2)
    assert strategy.needs == {"partial", "step"}
    assert make("ab_mcts").needs == frozenset()
    played = play(strategy, PROBLEM, world)
    scored = [r for r in played.requests if isinstance(r, Verify)]
    steps = [r for r in played.requests if isinstance(r, Generate)]
    assert len(scored) == 12
    assert all(r.candidates[0].finished for r in scored)
    assert len(steps) < 12 * 4  # prefixes were reused: fewer steps than twelve whole answers
    assert played.answer == "5"


def test_missing_answers_count_as_zero_and_never_win():
    replies = [[""], ["7"], [0.01]]
    assert play(make("ab_mcts", n=2), PROBLEM, replies).answer == "7"
