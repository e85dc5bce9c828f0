"""After pre-training: fine-tuning, translation, retrieval, agents, longer horizons.

translation      (ln(A D^alpha))^beta          quality score against pre-training data
post_training    a n^-b, of each group         error against fine-tuning examples
datastore        a + b ln tokens               retrieval
agent_data       a + b ln trajectories         pass rate against recorded agent runs
horizon          c depth^gamma                 training compute against depth of the task
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.laws.declaration import Param, exponent, scale
from dwell.laws.law import Law


def _log_linear(name: str, source: str, **words: Any) -> Law:
    """A law a + b ln(source)."""
    return Law(
        name=name,
        text=f"a + b ln {source}",
        inputs=(source,),
        target="accuracy",
        params={
            "a": Param(meaning=f"value at one of {source}: an intercept", linear=True,
                       tolerance=8.0),
            "b": Param(meaning=f"gain for each factor e of {source}", linear=True),
        },
        linear=lambda x, p: (1.0, np.log(getattr(x, source))),
        space="linear",
        delta=None,
        assumes="a local form: it leaves every bound in the end and has no limit",
        automatic=False,
        **words,
    )  # fmt: skip


TRANSLATION = Law(
    name="translation",
    text="(ln(A D^alpha))^beta",
    inputs=("D",),
    target="score",
    params={
        "A": Param(meaning="sets where the score is 0: ln A", transform="exp", lower=0.0,
                   grid=(1.5, 3.0, 10.0, 100.0), units={"D": "-alpha"}, tolerance=8.0),
        "alpha": exponent("how fast data enter", grid=(0.05, 0.2, 0.6, 2.0), lower=1e-4,
                          tolerance=8.0),
        "beta": exponent("curvature", grid=(0.5, 1.0, 2.0), lower=1e-3, tolerance=8.0),
    },
    formula=lambda x, p: np.exp(p.beta * np.log(np.log(p.A) + p.alpha * np.log(x.D))),
    space="linear",
    delta=0.1,
    paper="Isik et al., Scaling Laws for Downstream Task Performance in Machine Translation "
    "(2024)",
    equation="BLEU = (log(A D^alpha))^beta, Huber loss with delta 0.1 on the score (delta as "
    "recalled, not re-read); cross-entropy follows `m2`. `misaligned` finds where the two part",
    use="BLEU or another translation score against pre-training tokens.",
    assumes="pre-training and the task agree: the score rises while cross-entropy falls",
)  # fmt: skip

POST_TRAINING = Law(
    name="post_training",
    text="a n^-b, of each group",
    inputs=("examples",),
    target="error",
    params={
        "a": scale("error of one example", grouped=True),
        "b": exponent("how fast examples help", grouped=True),
    },
    powers={"a": {"examples": "-b"}},
    paper="Hernandez et al., Scaling Laws for Transfer (2021), for the form",
    equation="error = a n^-b in fine-tuning examples, one line for each task and model family",
    use="Error after fine-tuning; `group` names task and family.",
    assumes="the error falls to 0 in the end",
)

DATASTORE = _log_linear(
    "datastore",
    "tokens",
    paper="Shao et al., Scaling Retrieval-Based Language Models with a Trillion-Token Datastore "
    "(2024)",
    equation="performance linear in the logarithm of datastore tokens, no end seen up to 1.4e12",
    use="A score against the size of a retrieval datastore.",
)

AGENT_DATA = _log_linear(
    "agent_data",
    "trajectories",
    paper="SWE-smith and related work on software agents (2025)",
    equation="pass rate linear in the logarithm of training trajectories",
    use="Pass rate of an agent against recorded trajectories it was tuned on.",
)

HORIZON = Law(
    name="horizon",
    text="c depth^gamma",
    inputs=("depth",),
    target="C",
    params={
        "c": scale("training compute at depth 1", tolerance=4.0),
        "gamma": Param(meaning="how fast compute grows with depth", lower=-10.0, upper=20.0,
                       grid=(0.5, 1.0, 2.0, 4.0)),
    },
    powers={"c": {"depth": "gamma"}},
    delta=None,
    paper="Reinforcement learning with growing horizon (2025)",
    equation="training compute T = c depth^gamma; gamma rises with the task's expressiveness",
    use="Compute that training takes to solve tasks of several depths.",
    assumes="compute is measured to the same success rate at each depth",
    automatic=False,
)  # fmt: skip


def misaligned(
    tokens: npt.ArrayLike, score: npt.ArrayLike, cross_entropy: npt.ArrayLike
) -> list[tuple[float, float]]:
    """Stretches of pre-training in which cross-entropy falls and the score falls too.

    Args:
        tokens: `[n]` pre-training tokens.
        score: `[n]`, larger is better.
        cross_entropy: `[n]`.

    Returns:
        (from, to) in tokens; empty if the score never falls while cross-entropy falls.

    Raises:
        UsageError: fewer than two rows.
    """
    columns: list[Any] = [np.asarray(v, np.float64) for v in (tokens, score, cross_entropy)]
    if len(columns[0]) < 2:
        raise UsageError("a misalignment needs at least two rows.")
    order = np.argsort(columns[0], kind="stable")
    size, quality, entropy = (column[order] for column in columns)
    bad = (np.diff(quality) < 0) & (np.diff(entropy) < 0)
    stretches: list[tuple[float, float]] = []
    for index in np.flatnonzero(bad):
        if stretches and stretches[-1][1] == size[index]:
            stretches[-1] = (stretches[-1][0], float(size[index + 1]))
        else:
            stretches.append((float(size[index]), float(size[index + 1])))
    return stretches


LAWS = (AGENT_DATA, DATASTORE, HORIZON, POST_TRAINING, TRANSLATION)
