"""Adaptive branching tree search: at every node, widen or go deeper, by Thompson sampling."""

from __future__ import annotations

import math
from collections.abc import Generator as PyGenerator
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from dwell.protocols import Strategy
from dwell.records import Candidate, Problem
from dwell.requests import Emit, Generate, Next, Solution, Start
from dwell.strategies.asking import appraise, whole_answers
from dwell.strategies.parameters import check_choice, check_int, check_name, check_sampling
from dwell.strategies.sequential import revision_context
from dwell.strategies.tree import MAX_STEPS

Prior = Literal["beta", "normal"]


@dataclass(slots=True)
class Arm:
    """Scores seen behind one choice, and the posterior of their mean.

    Two conjugate models (Inoue et al. 2025, appendix): "beta", for scores in `[0, 1]`, with
    Jeffreys' prior Beta(1/2, 1/2) and `Beta(1/2 + sum r, 1/2 + sum (1 - r))`; "normal" with the
    normal-inverse-chi-squared prior m = 0, kappa = 1, nu = 1, tau^2 = 0.1.
    """

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, score: float) -> None:
        """Note a score; NaN is no observation."""
        if not math.isnan(score):
            self.count += 1
            self.total += score
            self.squares += score * score

    def sample(self, prior: Prior, rng: np.random.Generator) -> float:
        """A draw from the posterior of the mean score."""
        if prior == "beta":
            return float(rng.beta(0.5 + self.total, 0.5 + self.count - self.total))
        mean = self.total / self.count if self.count else 0.0
        spread = max(self.squares - self.count * mean * mean, 0.0)
        kappa = nu = 1.0 + self.count
        scale = 0.1 + spread + self.count * mean * mean / kappa  # nu times tau^2
        variance = scale / rng.chisquare(nu)
        return float(rng.normal(self.total / kappa, math.sqrt(variance / kappa)))


@dataclass(slots=True, eq=False)
class Node:
    """A candidate in the tree, with what is known about it and below it.

    Attributes:
        candidate: None for the root.
        value: its own score and all scores below it: competes with its siblings.
        widen: scores of its own children when they were made (the GEN node of the paper).
        deepen: scores made below its children (the CONT node).
        closed: nothing can be generated from it.
    """

    candidate: Candidate | None = None
    parent: Node | None = None
    children: list[Node] = field(default_factory=list)
    value: Arm = field(default_factory=Arm)
    widen: Arm = field(default_factory=Arm)
    deepen: Arm = field(default_factory=Arm)
    closed: bool = False

    def add(self, path: Sequence[Candidate], score: float) -> Node:
        """Attach new candidates as a chain below this node; the last of the new nodes.

        Their score is carried up to the root and counts once in each posterior.
        """
        node = self
        for candidate in path:
            node.widen.add(score)
            node = Node(candidate, node)
            node.value.add(score)
            assert node.parent is not None
            node.parent.children.append(node)
        above = self
        while above.parent is not None:
            above.value.add(score)
            above.parent.deepen.add(score)
            above = above.parent
        return node

    def path(self) -> list[Candidate]:
        """Candidates from below the root to this node."""
        above = self.parent.path() if self.parent is not None else []
        return above if self.candidate is None else [*above, self.candidate]


def widen_or_descend(node: Node, prior: Prior, rng: np.random.Generator) -> Node | None:
    """None = make a new child here; else the child to go to.

    Thompson sampling twice: a draw from the posterior of "a new child" against one of "below the
    children"; then one draw per child.
    """
    open_children = [child for child in node.children if not child.closed]
    if not open_children:
        return None
    if node.widen.sample(prior, rng) >= node.deepen.sample(prior, rng):
        return None
    draws = [child.value.sample(prior, rng) for child in open_children]
    return open_children[int(np.argmax(draws))]


@dataclass(frozen=True, kw_only=True)
class AdaptiveBranching(Strategy):
    """AB-MCTS: tree search that decides at each node whether to go wider or deeper.

    From the root down, each node draws from two posteriors: the score of a *new* child (GEN) and
    the score of what lies below its children (CONT, aggregated over them). If GEN wins, the node
    is expanded; else the walk goes on to the child with the best draw of its own posterior. The
    new score is noted on the way back. `window` expansions are in flight at any time; walks see
    only the scores that have arrived, so window = 1 is the paper's sequential search.

    What an expansion is (`grow`):

    - "revise" (default; any generator): a node is a whole attempt. A child of the root is a fresh
      answer; a child of another node is a re-prompt that shows the last `history` attempts on its
      path and asks for another pass. Deeper = refine.
    - "steps" (generators that continue partial text): a node is a prefix. An expansion grows the
      prefix step by step to its end, and each step becomes a node that can be branched from; all
      share the score of the finished answer. Deeper = keep more of a good beginning.

    The answer is that of the highest score. An attempt without an answer counts as score 0 under
    the "beta" prior, and as no observation under "normal".

    Attributes:
        n: number of expansions (whole answers), at least 1.
        window: expansions in flight, at least 1.
        grow: "revise" or "steps".
        history: attempts shown in a re-prompt, at least 1.
        prior: "beta" for scores in `[0, 1]` (clipped to it), "normal" for any.
        verifier: name of the verifier that scores answers.
        temperature: sampling temperature, at least 0; None = the generator's default.
        max_tokens: cap on an attempt, in tokens, for "revise"; None = the generator's default.

    References:
        Inoue et al., "Wider or Deeper? Scaling LLM Inference-Time Compute with Adaptive Branching
        Tree Search" (2025), AB-MCTS-A (node aggregation) and its priors. The window and "steps"
        are ours.
    """

    name = "ab_mcts"
    paper = "Inoue et al. 2025, Wider or Deeper? (AB-MCTS-A)"

    n: int = 16
    window: int = 4
    grow: Literal["revise", "steps"] = "revise"
    history: int = 1
    prior: Prior = "beta"
    verifier: str = "process"
    temperature: float | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check_int("n", self.n, least=1)
        check_int("window", self.window, least=1)
        check_choice("grow", self.grow, ("revise", "steps"))
        check_int("history", self.history, least=1)
        check_choice("prior", self.prior, ("beta", "normal"))
        check_name("verifier", self.verifier)
        check_sampling(self.temperature, self.max_tokens)
        if self.grow == "steps":
            # What is needed depends on the parameters here: the instance overrides its class.
            object.__setattr__(self, "needs", frozenset({"partial", "step"}))

    def solve(self, problem: Problem, rng: np.random.Generator) -> Solution:
        """Keep `window` expansions in flight until `n` have been made."""
        root, best, best_score = Node(), None, -math.inf
        window = min(self.window, self.n)
        parents: dict[int, Node] = {}
        for k in range(self.n + window):
            if k >= window:  # the window is full, or draining
                tag, (path, score) = yield Next()
                leaf = parents.pop(tag).add(path, self.reward(path[-1], score))
                leaf.closed = self.grow == "steps" or path[-1].status == "failed"
                answered = path[-1].answer is not None
                rank = -math.inf if math.isnan(score) else score
                if answered and (best is None or rank > best_score):
                    best, best_score = path[-1], rank
                    yield Emit(best.answer)
            if k < self.n:
                node = root
                while (down := widen_or_descend(node, self.prior, rng)) is not None:
                    node = down
                parents[k] = node
                yield Start(self.expand(problem, node), tag=k)
        return None if best is None else best.answer

    def expand(
        self, problem: Problem, node: Node
    ) -> PyGenerator[Any, Any, tuple[list[Candidate], float]]:
        """The new candidates below a node, in order, and the score of the last."""
        if self.grow == "revise":
            path = yield from self.attempt(problem, node)
        else:
            path = yield from self.rollout(problem, node)
        if self.n == 1:
            return path, math.nan  # nothing to choose from
        (score,) = yield from appraise(path[-1:], self.verifier)
        return path, float(score)

    def attempt(self, problem: Problem, node: Node) -> PyGenerator[Any, Any, list[Candidate]]:
        """A fresh answer at the root, a revision elsewhere."""
        if node.candidate is None:
            request = whole_answers(problem, 1, self.temperature, self.max_tokens)
        else:
            shown = [candidate.text for candidate in node.path()[-self.history :]]
            request = Generate(
                revision_context(problem, shown),
                temperature=self.temperature,
                max_tokens=self.max_tokens,
            )
        return list((yield request))

    def rollout(self, problem: Problem, node: Node) -> PyGenerator[Any, Any, list[Candidate]]:
        """Step by step from a prefix to its end."""
        path: list[Candidate] = []
        last, depth = node.candidate, len(node.path())
        while (last is None or not last.finished) and depth + len(path) < MAX_STEPS:
            context = problem.context() if last is None else last.continued()
            (last,) = yield Generate(context, until="step", temperature=self.temperature)
            path.append(last)
        return path

    def reward(self, candidate: Candidate, score: float) -> float:
        """The score as the tree sees it."""
        if self.prior == "normal":
            return score
        if candidate.answer is None:
            return 0.0
        return score if math.isnan(score) else min(max(score, 0.0), 1.0)
