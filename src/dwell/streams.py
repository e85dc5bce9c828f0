"""Streams of whole answers as arrays.

A strategy that only decides when to stop drawing whole answers, and which to give, can be
evaluated on thousands of recorded streams at once: `Strategy.replay`. It must agree with
`Strategy.solve` draw by draw, which `dwell.testing` checks.

Letters: `...` any leading axes (streams), `N` draws, in order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Streams:
    """Whole answers in the order in which they are drawn.

    Attributes:
        codes: `[..., N]` number of each draw's answer within its question; -1 = no usable vote.
        sizes: `[...]` draws there are; what a stream holds beyond its size means nothing.
        scores: `[..., N]` score of each draw by verifier, NaN = not verified.
    """

    codes: IntArray
    sizes: IntArray
    scores: Mapping[str, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a strategy made of streams.

    Attributes:
        drawn: `[...]` draws used (all of them charged); -1 where the stream was too short to say.
        chosen: `[...]` code of the answer given; -1 = none (it abstained, or nothing parsed).
        place: `[...]` which draw was chosen, for strategies that choose a draw; None for those
            that choose an answer.
    """

    drawn: IntArray
    chosen: IntArray
    place: IntArray | None = None
