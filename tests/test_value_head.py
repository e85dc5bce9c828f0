"""Features at newlines follow their definition, and the head's arithmetic is exact."""

from __future__ import annotations

import numpy as np

from dwell.value_head import SCALARS, ValueHead, scalar_features

TEXT = "4+5=9\nA9\n"
NATS = np.array([0.5, 0, 0, 0, 2, 1, 0.25, 4, 0])


def test_scalars_follow_their_names() -> None:
    first, second = (
        dict(zip(SCALARS, row, strict=True))
        for row in scalar_features(TEXT, NATS, is_chain=True).tolist()
    )
    assert first["surprisal_sum"] == first["surprisal_of_step"] == 3.5
    assert first["result_surprisal_sum"] == 3 and first["result_surprisal_max"] == 2  # noqa: PT018
    assert second["surprisal_sum"] == 7.75
    assert second["result_surprisal_of_step"] == 4
    assert (first["num_steps"], second["num_steps"], second["is_chain"]) == (1, 2, 1)


def test_scalars_of_a_prefix_are_a_prefix_of_the_scalars() -> None:
    whole = scalar_features(TEXT, NATS, is_chain=False)
    part = scalar_features(TEXT[:6], NATS, is_chain=False)
    assert np.array_equal(whole[:1], part)
    assert scalar_features("4+5", NATS, is_chain=False).shape == (0, len(SCALARS))


def test_a_marker_starts_a_new_pass() -> None:
    again = scalar_features(TEXT + "W\n" + TEXT, [*NATS, 9, 9, *NATS], is_chain=True)
    once = scalar_features(TEXT, NATS, is_chain=True)
    assert np.array_equal(again[:2], once)
    assert np.array_equal(again[3:], once)
    assert not again[2, :-1].any()


def random_head(width: int) -> ValueHead:
    rng = np.random.default_rng(width)
    sizes = (width, 128, 64, 1)
    tensors = {}
    for k, (a, b) in enumerate(zip(sizes[:-1], sizes[1:], strict=True), start=1):
        tensors[f"layer{k}.weight"] = rng.normal(size=(b, a)) * 0.3
        tensors[f"layer{k}.bias"] = rng.normal(size=b)
    return ValueHead.from_tensors(tensors)


def test_a_score_does_not_depend_on_its_neighbours() -> None:
    head, rng = random_head(128 + len(SCALARS)), np.random.default_rng(0)
    hidden = rng.normal(size=(37, 128)).astype(np.float32)
    scalars = (rng.normal(size=(37, 8)) * 20).astype(np.float32)
    whole = head.logits(hidden, scalars)
    parts = [head.logits(hidden[k : k + 3], scalars[k : k + 3]) for k in range(0, 37, 3)]
    assert head.reads_scalars
    assert np.array_equal(whole, np.concatenate(parts))


def test_the_head_is_a_relu_network_up_to_rounding() -> None:
    head, rng = random_head(64), np.random.default_rng(1)
    hidden = rng.normal(size=(9, 64)).astype(np.float32)
    x = hidden.astype(np.float64)
    for k, (weight, bias) in enumerate(head.layers):
        x = x @ weight.T + bias
        x = np.maximum(x, 0) if k < 2 else x
    assert not head.reads_scalars
    assert np.abs(head.logits(hidden) - x[:, 0]).max() < 0.2
    probabilities = head.probabilities(hidden)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
