"""Statistics of texts that an embedded model wrote, or that were recorded without them.

All describe the whole assistant text: the partial text that was continued and what was added, one
entry per character, the end token left out. So a continued text has the statistics that it would
have had if it had been written at once, and a recorded text the same bits as a fresh one:

* `surprisal`: `[T]` float32, ``-log p`` of each character in nats, at temperature 1;
* `self_certainty`: float, the mean over characters of ``KL(uniform || p)``, in nats; NaN for an
  empty text. V counts the tokens that may be drawn, not the padding of the vocabulary;
* `step_value`: `[S]` float32, at each newline the value head's logit of "this will end right".

References:
    Kang, Zhao and Song, "Scalable Best-of-N Selection for Large Language Models via
    Self-Certainty" (2025): ``-1/(nV) sum_i sum_j log(V p(j | x, y_<i))``.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dwell.generators.tiny_engine import TextScore
from dwell.generators.tiny_pool import EnginePool
from dwell.generators.tiny_weights import Floats, parse_safetensors
from dwell.value_head import ValueHead, scalar_features

STATISTICS = frozenset({"surprisal", "self_certainty"})
HEAD_FILE = "value_head.safetensors"

_KEPT_TEXTS = 8192


@dataclass(frozen=True, slots=True)
class Written:
    """What is known of an assistant text.

    Attributes:
        surprisals: `[T]` float32 nats.
        mean_log_probs: `[T]` float32 nats, the mean over drawable tokens.
        step_values: `[S]` float32 logits; empty without a head.
    """

    surprisals: Floats
    mean_log_probs: Floats
    step_values: Floats


_EMPTY = Written(*(np.zeros(0, np.float32) for _ in range(3)))


def load_head(folder: Path) -> tuple[ValueHead, str] | None:
    """The value head beside a model and the hash of its file; None if there is none."""
    file = folder / HEAD_FILE
    if not file.is_file():
        return None
    data = file.read_bytes()
    return ValueHead.from_tensors(parse_safetensors(data)), hashlib.sha256(data).hexdigest()


class Annotator:
    """Turns what the engine returns into statistics.

    Texts that may be continued are remembered for a while; a partial text that is not (one that
    a strategy appended to) is read again, to the same bits.

    Args:
        pool: reads texts.
        head: the value head, None without one.
    """

    def __init__(self, pool: EnginePool, head: ValueHead | None) -> None:
        self._pool = pool
        self._head = head
        self._known: OrderedDict[tuple[str, str], Written] = OrderedDict()
        sampleable = pool.model.sampleable
        self._log_vocabulary = math.log(int(np.count_nonzero(sampleable)))

    @property
    def names(self) -> frozenset[str]:
        """The statistics that it can give."""
        return STATISTICS | ({"step_value"} if self._head is not None else frozenset())

    def read(self, texts: Sequence[tuple[str, str]]) -> list[Written]:
        """What the model makes of given (prompt, assistant text) pairs."""
        # looked up once: another thread may forget a text at any moment
        found = {pair: self._known.get(pair) for pair in texts if pair[1]}
        missing = [pair for pair, written in found.items() if written is None]
        scores = self._pool.score([self._tokens(*pair) for pair in missing])
        for pair, score in zip(missing, scores, strict=True):
            found[pair] = self.join(pair[0], "", pair[1], _EMPTY, score)
        return [found.get(pair) or _EMPTY for pair in texts]

    def join(
        self, prompt: str, partial: str, added: str, before: Written, score: TextScore
    ) -> Written:
        """What is known of ``partial + added``.

        Args:
            prompt: what the assistant text answers.
            partial: the text that was continued.
            added: what was added, without the end token.
            before: what is known of the partial text.
            score: the engine's numbers for what was added; entries beyond its characters (the
                end token's) are left out.
        """
        count = len(added)
        surprisals = np.concatenate([before.surprisals, score.surprisals[:count]])
        mean_log_probs = np.concatenate([before.mean_log_probs, score.mean_log_probs[:count]])
        values = before.step_values
        if self._head is not None and len(score.hidden):
            rows = None
            if self._head.reads_scalars:
                rows = scalar_features(partial + added, surprisals, is_chain=prompt[:1] == "C")
                rows = rows[len(rows) - len(score.hidden) :]
            values = np.concatenate([values, self._head.logits(score.hidden, rows)])
        return Written(surprisals, mean_log_probs, values)

    def keep(self, prompt: str, text: str, written: Written) -> None:
        """Remembers a text that is likely to be continued."""
        self._known[prompt, text] = written
        if len(self._known) > _KEPT_TEXTS:
            self._known.popitem(last=False)

    def statistics(self, written: Written, want: frozenset[str]) -> dict[str, Any]:
        """The wanted statistics, of those that it can give."""
        stats: dict[str, Any] = {}
        if "surprisal" in want:
            stats["surprisal"] = written.surprisals
        if "self_certainty" in want:
            means = written.mean_log_probs.astype(np.float64)
            stats["self_certainty"] = (
                float(-self._log_vocabulary - means.mean()) if len(means) else math.nan
            )
        if "step_value" in want and self._head is not None:
            stats["step_value"] = written.step_values
        return stats

    def _tokens(self, prompt: str, text: str) -> tuple[list[int], int]:
        """All tokens, and the index of the first that the assistant wrote."""
        return self._pool.model.encode(prompt + text), len(prompt)
