import itertools

import numpy as np

from dwell.requests import Generate
from dwell.strategies import make
from dwell.strategies.allocation import log_weights, softmax
from dwell.strategies.particle import ParticleFilter
from dwell.testing import PROBLEM, play

DEPTH = 3


class TwoLetterTree:
    """A generator on the binary tree of depth 3, with known probabilities and scores."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def prob_b(self, prefix: str) -> float:
        return 0.2 + 0.15 * prefix.count("b") + 0.05 * len(prefix)

    def score(self, text: str) -> float:
        return 0.15 + 0.25 * text.count("b") - 0.05 * (text[0] == text[-1])

    def __call__(self, request):
        if not isinstance(request, Generate):
            return [self.score(self.letters(c.text)) for c in request.candidates]
        prefix = self.letters(request.context.partial)
        drawn = self.rng.random(request.n) < self.prob_b(prefix)
        end = "" if len(prefix) == DEPTH - 1 else "\n"
        return ["ab"[b] + end for b in drawn.astype(int)]

    @staticmethod
    def letters(text: str) -> str:
        return text.replace("\n", "")

    def posterior(self) -> dict[str, float]:
        """Prior times the odds of every prefix, normalised over all eight leaves."""
        mass = {}
        for leaf in map("".join, itertools.product("ab", repeat=DEPTH)):
            mass[leaf] = 1.0
            for t in range(DEPTH):
                prob, score = self.prob_b(leaf[:t]), self.score(leaf[: t + 1])
                mass[leaf] *= (prob if leaf[t] == "b" else 1 - prob) * score / (1 - score)
        total = sum(mass.values())
        return {leaf: value / total for leaf, value in mass.items()}


class Recording(ParticleFilter):
    """A particle filter that keeps its final weighted sample."""

    def solve(self, problem, rng):
        particles, scores = yield from self.posterior(problem, rng)
        prob = softmax(log_weights(scores, "odds"))
        self.kept.append(([TwoLetterTree.letters(p.text) for p in particles], prob))
        return None


def distance(num_particles: int, seed: int, **params) -> float:
    """Total variation between the weighted particles and the exact posterior."""
    Recording.kept = []
    tree = TwoLetterTree(seed)
    play(Recording(n=num_particles, **params), PROBLEM, tree, seed=seed)
    ((leaves, weights),) = Recording.kept
    exact = tree.posterior()
    found = {leaf: sum(w for x, w in zip(leaves, weights, strict=True) if x == leaf)
             for leaf in exact}  # fmt: skip
    return 0.5 * sum(abs(found[leaf] - exact[leaf]) for leaf in exact)


def test_particles_converge_to_the_enumerated_posterior_as_one_over_root_n():
    small = np.array([distance(16, seed) for seed in range(20)])
    large = np.array([distance(256, seed) for seed in range(20)])
    # Sixteen times the particles, a quarter of the distance, within 4 standard errors.
    error = np.hypot(large.std() / large.mean(), small.std() / small.mean()) / np.sqrt(20)
    assert abs(np.log(large.mean() / small.mean()) - np.log(0.25)) < 4 * error
    assert large.mean() < 0.08


def test_systematic_resampling_has_the_same_limit():
    assert np.mean([distance(256, seed, resampling="systematic") for seed in range(8)]) < 0.08


def test_finished_particles_take_part_in_resampling():
    # "7" is finished and nearly certain: it replaces the doubtful prefixes.
    played = play(
        make("particle", n=3), PROBLEM, [["7", "a\n", "b\n"], [0.999999999], [1e-9, 1e-9]]
    )
    assert played.answer == "7"
    assert sum(isinstance(r, Generate) for r in played.requests) == 1


def test_copies_of_a_particle_step_in_one_request():
    replies = [["a\n", "b\n", "c\n"], [1e-9, 1 - 1e-9, 1e-9], ["4", "5", "6"], [0.1, 0.3, 0.2]]
    played = play(make("particle", n=3), PROBLEM, replies)
    second = played.requests[2]
    assert (second.context.partial, second.n) == ("b\n", 3)
    assert played.answer == "5"


def test_final_choice_can_be_a_weighted_vote():
    replies = [["7", "4", "4"], [0.6, 0.4, 0.4]]
    assert play(make("particle", n=3), PROBLEM, replies).answer == "7"
    assert play(make("particle", n=3, choose="weighted"), PROBLEM, replies).answer == "4"


def test_finished_particles_without_an_answer_die_out():
    replies = [["", "a\n"], [0.01], ["8", "9"], [0.2, 0.1]]
    assert play(make("particle", n=2), PROBLEM, replies).answer == "8"
