import itertools

import numpy as np
import pytest

from dwell.plans.crossfit import cross_fitted, folds_of
from dwell.plans.search import Menu, best_policies, tune, value


def menu(right, cost):
    return Menu(right=np.asarray(right, np.float32), cost=np.asarray(cost, np.float32),
                cuts=((0.5,),) * (len(right) > 1))  # fmt: skip


def random_menu(cells, options, questions, seed):
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(cells), questions).T[:, None]
    cost = np.sort(rng.random((cells, options, 1)), axis=1) * shares
    return menu(rng.random((cells, options, 1)) * shares, cost)


@pytest.mark.parametrize("seed", range(5))
def test_marginal_analysis_is_within_one_step_of_the_best_allocation(seed):
    table = random_menu(3, 5, 40, seed)
    rows, budget = np.arange(40), 0.5
    found = value(table, tune(table, rows, np.array([budget]))[0], rows)
    best = max(
        value(table, np.array(taken), rows)[0].mean()
        for taken in itertools.product(range(5), repeat=3)
        if value(table, np.array(taken), rows)[1].mean() <= budget
    )
    assert found[1].mean() <= budget + 1e-6
    step = table.right.sum(axis=2).max() / 40
    assert best - step <= found[0].mean() <= best + 1e-6


def test_a_larger_budget_never_gives_less_where_it_is_tuned():
    table, rows = random_menu(4, 6, 30, 1), np.arange(30)
    budgets = np.linspace(0.2, 1, 9)
    right = [value(table, one, rows)[0].mean() for one in tune(table, rows, budgets)]
    assert np.all(np.diff(right) >= -1e-6)


def test_a_budget_below_the_cheapest_strategy_finds_nothing():
    table = menu([[[1.0, 1.0]]], [[[2.0, 2.0]]])
    assert best_policies([table], np.arange(2), np.array([1.0])) == [None]


def test_cells_that_nothing_falls_into_take_what_the_costliest_takes():
    right = np.zeros((3, 2, 4))
    cost = np.zeros((3, 2, 4))
    right[0], cost[0] = [[0.0] * 4, [1.0] * 4], [[1.0] * 4, [2.0] * 4]
    taken = tune(menu(right, cost), np.arange(4), np.array([5.0]))
    assert taken.tolist() == [[1, 1, 1]]


def test_the_simpler_menu_is_kept_where_noise_cannot_tell_it_from_the_better():
    rng = np.random.default_rng(0)
    plain = rng.random(200)
    routed = plain + rng.normal(0.001, 0.1, 200)
    cost = np.ones((1, 1, 200))
    menus = [menu(plain[None, None], cost), menu(routed[None, None], cost)]
    (found,) = best_policies(menus, np.arange(200), np.array([1.0]))
    assert found.menu == 0
    better = menu(plain[None, None] + 0.1, cost)
    (found,) = best_policies([menus[0], better], np.arange(200), np.array([1.0]))
    assert found.menu == 1


def test_clusters_are_never_split_by_folds():
    clusters = np.repeat(np.arange(10), 3)
    splits = list(folds_of(30, clusters, 5, 2, 0))
    assert len(splits) == 10
    for own, held in splits:
        assert not set(clusters[own]) & set(clusters[held])
    assert sorted(np.concatenate([held for _, held in splits[:5]])) == list(range(30))


def test_held_out_accuracy_of_pure_noise_is_not_flattered():
    # 40 coins for 60 questions: the best of them looks good where it was chosen, nowhere else.
    rng = np.random.default_rng(3)
    right = (rng.random((1, 40, 60)) < 0.5).astype(float)
    table = menu(right, np.ones_like(right))
    splits = list(folds_of(60, None, 5, 4, 0))
    held = cross_fitted([table], np.array([1.0]), splits).accuracy.mean()
    assert right[0].mean(axis=1).max() > 0.6
    assert abs(held - 0.5) < 4 * 0.5 / np.sqrt(60)


def test_the_luck_of_a_cost_is_its_spread_between_the_plans_of_the_splits():
    # Two strategies, as good but for chance: noise decides whether the dear one is worth it.
    rng = np.random.default_rng(3)
    right = (rng.random((1, 2, 60)) < 0.5).astype(float)
    table = menu(right, np.broadcast_to([[[1.0], [2.0]]], right.shape))
    held = cross_fitted([table], np.array([1.5, 2.0]), list(folds_of(60, None, 5, 4, 0)))
    paid = [1.0 + row[1].taken[0] for row in held.found]
    assert held.luck == pytest.approx([0, np.std(paid)])
    assert held.luck[1] > 0
