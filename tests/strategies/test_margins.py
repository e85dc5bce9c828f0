"""What stopping and pooling save is a property of the margins: known laws, simulated and held."""

import numpy as np
import pytest

from dwell.strategies import make
from dwell.streams import Streams


def draws(rng, prob, num_draws):
    """Streams `[..., N]` of answers 0, 1, ... with probabilities `[..., A]` a question."""
    uniform = rng.random((*prob.shape[:-1], num_draws))
    edges = np.cumsum(prob, axis=-1)[..., :-1]
    codes = (uniform[..., None] > edges[..., None, :]).sum(axis=-1)
    return Streams(codes=codes, sizes=np.full(codes.shape[:-1], num_draws))


def errors(streams, n):
    """`[P]` whether a vote of n is not answer 0; ties count half."""
    standing = streams.standing
    tie = standing.votes[:, n - 1] == standing.runner_up[:, n - 1]
    wrong = make("majority", n=n).replay(streams).chosen != 0
    return np.where(tie, 0.5, wrong)


@pytest.mark.parametrize("prob", [(0.55, 0.45), (0.7, 0.3), (0.5, 0.3, 0.2), (0.6, 0.2, 0.2)])
def test_error_of_a_vote_is_bounded_by_its_margin(prob):
    margin = (np.sqrt(prob[0]) - np.sqrt(prob[1])) ** 2
    streams = draws(np.random.default_rng(1), np.tile(prob, (20_000, 1)), 60)
    for n in (1, 5, 15, 30, 60):
        error = errors(streams, n)
        # With A answers any of A - 1 may overtake.
        bound = (len(prob) - 1) * np.exp(-n * margin)
        assert error.mean() <= bound + 4 * error.std() / np.sqrt(len(error))


def test_error_falls_like_the_square_root_where_margins_are_dense_near_zero():
    # Density of margins ~ m^(-1/2): m = u^2; two answers with 1 - 2 sqrt(p q) = m.
    rng = np.random.default_rng(2)
    margin = rng.random(4000) ** 2
    first = (1 + np.sqrt(1 - (1 - margin) ** 2)) / 2
    streams = draws(rng, np.stack([first, 1 - first], axis=1), 511)
    budgets = np.array([15, 31, 63, 127, 255, 511])
    error = [errors(streams, int(n)).mean() for n in budgets]
    slope = np.polyfit(np.log(budgets), np.log(error), 1)[0]
    assert -0.6 <= slope <= -0.4


def mixed_pools(rng, share_easy=0.7):
    """`[R, P, A]` 16 pools of 150 questions, whose likeliest answer is 0.

    Its probability is 0.92 to 1 in easy questions, about 0.35 to 0.7 in others; five more answers
    share the rest.
    """
    shape = (16, 150)
    easy = rng.random(shape) < share_easy
    first = np.where(easy, rng.uniform(0.92, 1, shape), rng.uniform(0.35, 0.7, shape))
    rest = np.minimum(rng.dirichlet(np.ones(5), shape) * (1 - first)[..., None], 0.3)
    prob = np.concatenate([first[..., None], rest], axis=-1)
    return prob / prob.sum(axis=-1, keepdims=True)


def agreement(spec, streams, **params):
    """(share of votes that are the likeliest answer, mean draws)."""
    found = make(spec, **params).replay(streams)
    return (found.chosen == 0).mean(), found.drawn.mean()


def test_a_third_of_the_draws_reaches_the_agreement_of_64():
    rng = np.random.default_rng(3)
    streams = draws(rng, mixed_pools(rng), 64)
    fixed, _ = agreement("majority", streams, n=64)
    stopped, used = agreement("adaptive_consistency", streams, n=64)
    assert used <= 64 / 3
    assert stopped >= fixed - 0.01
    pooled, used = agreement("pool_vote", streams, n=21, cap=64)
    assert used <= 64 / 3
    assert pooled >= fixed - 0.001


def test_nothing_is_much_worse_than_a_vote_with_as_many_draws():
    rng = np.random.default_rng(4)
    for share_easy in (0.3, 0.6, 0.9):
        streams = draws(rng, mixed_pools(rng, share_easy), 64)
        for spec, params in (
            ("adaptive_consistency", {"n": 40}), ("adaptive_consistency", {"rule": "dirichlet"}),
            ("early_stopping", {"n": 40}), ("ppr", {"n": 40}), ("marginal_gain", {"n": 40}),
            ("pool_vote", {"n": 8, "cap": 64}),
            ("pool_vote", {"n": 8, "cap": 64, "order": "gain"}),
            ("pool_allocation", {"n": 8, "cap": 64}),
        ):  # fmt: skip
            found, used = agreement(spec, streams, **params)
            fixed, _ = agreement("majority", streams, n=int(np.ceil(used)))
            assert found >= fixed - 0.005, (spec, params, share_easy)
