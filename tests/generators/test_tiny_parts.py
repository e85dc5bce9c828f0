"""What the embedded model's engine is made of: points, draws, caches, codes, model files."""

import numpy as np
import pytest

from dwell.errors import UsageError
from dwell.generators.tiny_cache import PrefixCache
from dwell.generators.tiny_engine import Engine
from dwell.generators.tiny_sampling import Distribution, uniforms
from dwell.generators.tiny_weights import TinyModel, parse_safetensors, row_codes
from tiny_world import VOCAB, WIDTH, write_model


def test_uniforms_are_uniform_and_independent_of_the_batch():
    keys = np.arange(20000, dtype=np.uint64)
    points = uniforms(keys, np.full(20000, 5))
    assert uniforms(keys[7:8], np.array([5]))[0] == points[7]
    counts = np.histogram(points, bins=20, range=(0, 1))[0]
    assert np.all(np.abs(counts - 1000) < 4.5 * np.sqrt(1000 * 0.95))
    neighbour = uniforms(keys, np.full(20000, 6))
    assert abs(np.corrcoef(points, neighbour)[0, 1]) < 4.5 / np.sqrt(20000)


def test_inverse_of_the_cumulative_distribution_takes_the_right_token():
    logits = np.log(np.array([[0.5, 0.25, 0.25]] * 5, np.float32))
    law = Distribution(logits, np.array([True, True, True]))
    points = np.array([0.0, 0.499, 0.501, 0.749, 0.9999999999999999])
    assert law.draw(points, np.ones(5)).tolist() == [0, 0, 1, 1, 2]
    banned = np.zeros((5, 3), bool)
    banned[:, 0] = True
    assert law.draw(points, np.ones(5), banned).tolist() == [1, 1, 2, 2, 2]


def test_prefix_cache_finds_the_longest_beginning_and_stays_bounded():
    cache = PrefixCache(max_tokens=10, newline=2)
    codes = np.zeros((1, 2, 6, 32), np.float32)
    cache.put(bytes([5, 2, 6, 7, 2, 8]), codes)
    assert cache.longest(bytes([5, 2, 6, 7, 2, 9])).length == 4
    assert cache.longest(bytes([5, 2, 6, 7, 2, 8, 9])).length == 6
    assert cache.longest(bytes([6, 5])).length == 0
    cache.put(bytes([9] * 6), codes)
    assert cache.num_tokens == 6
    assert cache.longest(bytes([5, 2])).length == 0


def test_row_codes_recover_integers_and_powers():
    codes = np.array([[127, -3, 0], [2, 4, -6], [0, 0, 0]])
    steps = np.array([2.0**-9, 2.0**-5, 1.0])
    found, sizes = row_codes((codes * steps[:, None]).astype(np.float32))
    np.testing.assert_array_equal(found, [[127, -3, 0], [1, 2, -3], [0, 0, 0]])
    np.testing.assert_array_equal(sizes[:2], [2.0**-9, 2.0**-4])


def test_text_survives_encoding(model):
    text = "C47+38*3-29\n47+38=85\n"
    assert model.decode([*model.encode(text), model.eos]) == text


def test_unknown_characters_are_named(model):
    with pytest.raises(UsageError, match="'x'"):
        model.encode("12x")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tensors": {"model.norm.weight": np.full(WIDTH, 2.0)}}, "gains must be 1"),
        ({"tensors": {"lm_head.weight": np.full((VOCAB, WIDTH), 129 / 256)}}, "8-bit"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"num_key_value_heads": 1}, "num_key_value_heads"),
        ({"intermediate_size": 97}, "must have shape"),
        ({"eos_token_id": None}, "eos_token_id"),
    ],
)
def test_other_kinds_of_model_are_refused(tmp_path, changes, words):
    with pytest.raises(UsageError, match=words):
        Engine(TinyModel.load(write_model(tmp_path, **changes)))


def test_missing_and_broken_files_are_refused(tmp_path):
    with pytest.raises(UsageError, match="cannot read"):
        TinyModel.load(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="safetensors"):
        parse_safetensors(b"\x08\0\0\0\0\0\0\0not json")
