"""The embedded model's engine: one draw is one draw, whatever surrounds it."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import dwell
from dwell.errors import UsageError
from dwell.generators.tiny_cache import PrefixCache
from dwell.generators.tiny_engine import Engine, Job, Result
from dwell.generators.tiny_exact import EXACT, scale_model
from dwell.generators.tiny_forward import Forward
from dwell.generators.tiny_pool import EnginePool
from dwell.generators.tiny_sampling import Distribution, uniforms
from dwell.generators.tiny_weights import TinyModel, parse_safetensors, row_codes

CHARACTERS = "\n0123456789+-*=,> ACGW"
EVERYTHING = frozenset({"surprisal", "hidden", "mean_log_prob"})
WIDTH, INNER, LAYERS, VOCAB, CONTEXT = 64, 96, 2, 32, 96


def codes_times_powers(rng: np.random.Generator, shape: tuple[int, int], gain: float):
    weight = rng.normal(size=shape) * gain / np.sqrt(shape[1])
    steps = 2.0 ** np.ceil(np.log2(np.abs(weight).max(axis=1) / 127))
    return np.rint(weight / steps[:, None]) * steps[:, None]


def write_model(folder: Path, seed: int = 0, **changes) -> Path:
    rng = np.random.default_rng(seed)
    tensors = {"model.embed_tokens.weight": rng.normal(size=(VOCAB, WIDTH)) * 0.5}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        for part in "qkvo":
            name = f"{prefix}self_attn.{part}_proj.weight"
            tensors[name] = codes_times_powers(rng, (WIDTH, WIDTH), 1.2)
        for part in ("gate", "up"):
            tensors[f"{prefix}mlp.{part}_proj.weight"] = codes_times_powers(
                rng, (INNER, WIDTH), 1.0
            )
        tensors[f"{prefix}mlp.down_proj.weight"] = codes_times_powers(rng, (WIDTH, INNER), 1.0)
        for part in ("input", "post_attention"):
            tensors[f"{prefix}{part}_layernorm.weight"] = np.ones(WIDTH)
    tensors["model.norm.weight"] = np.ones(WIDTH)
    tensors["lm_head.weight"] = codes_times_powers(rng, (VOCAB, WIDTH), 1.5)
    tensors |= changes.pop("tensors", {})
    folder.mkdir(parents=True, exist_ok=True)
    header, body = {}, b""
    for name, values in tensors.items():
        data = values.astype("<f2").tobytes()
        offsets = [len(body), len(body) + len(data)]
        header[name] = {"dtype": "F16", "shape": list(values.shape), "data_offsets": offsets}
        body += data
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + body)
    names = ["<pad>", "<eos>", *CHARACTERS]
    names += [f"<unused{k}>" for k in range(VOCAB - len(names))]
    vocab = {name: index for index, name in enumerate(names)}
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocab}}))
    config = {
        "model_type": "llama", "hidden_size": WIDTH, "intermediate_size": INNER,
        "num_hidden_layers": LAYERS, "num_attention_heads": WIDTH // 32, "vocab_size": VOCAB,
        "max_position_embeddings": CONTEXT, "rope_theta": 10000.0, "rms_norm_eps": 1e-5,
        "eos_token_id": 1,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config | changes))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def model(folder) -> TinyModel:
    return TinyModel.load(folder)


def random_jobs(num: int, seed: int = 0) -> list[Job]:
    rng = np.random.default_rng(seed)
    return [
        Job(
            prompt=tuple(rng.integers(2, 24, size=rng.integers(1, 30)).tolist()),
            key=int(rng.integers(2**63)),
            max_tokens=int(rng.integers(1, 60)),
            temperature=float(rng.choice([0.0, 0.7, 1.0, 1.0])),
            until=str(rng.choice(["end", "step"])),
            forbid_end=bool(rng.integers(2)),
            step_cap=int(rng.integers(10, 50)),
            want=EVERYTHING,
        )
        for _ in range(num)
    ]


def same(one: Result, other: Result) -> bool:
    """Equal bit for bit, but for what the cache happened to hold."""
    arrays = ("surprisals", "hidden", "mean_log_probs")
    return (one.tokens, one.status) == (other.tokens, other.status) and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays
    )


def float_logits(model: TinyModel, tokens: list[int]) -> np.ndarray:
    """A plain float32 forward pass, `[T, V]`."""
    config, weight = model.config, model.tensors
    length, dim, heads = len(tokens), config.head_dim, config.num_heads
    angles = np.arange(length)[:, None] * config.rope_theta ** (-np.arange(0, dim, 2) / dim)
    cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)

    def norm(x):
        return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + config.norm_eps)

    def rope(x):
        first, second = x[..., : dim // 2], x[..., dim // 2 :]
        return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)

    x = weight["model.embed_tokens.weight"][tokens]
    for layer in range(config.num_layers):

        def linear(x, part, layer=layer):
            return x @ weight[f"model.layers.{layer}.{part}_proj.weight"].T

        h = norm(x)
        q, k, v = (
            linear(h, f"self_attn.{part}").reshape(length, heads, dim).transpose(1, 0, 2)
            for part in "qkv"
        )
        scores = rope(q) @ rope(k).transpose(0, 2, 1) / np.float32(np.sqrt(dim))
        scores = np.where(np.tril(np.ones((length, length), bool)), scores, -np.inf)
        probs = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (probs / probs.sum(axis=-1, keepdims=True)) @ v
        x = x + linear(mixed.transpose(1, 0, 2).reshape(length, -1), "self_attn.o")
        h = norm(x)
        gate = linear(h, "mlp.gate")
        x = x + linear(gate / (1 + np.exp(-gate)) * linear(h, "mlp.up"), "mlp.down")
    return norm(x) @ weight["lm_head.weight"].T


# the arithmetic


def test_logits_agree_with_a_float32_forward_pass(model):
    tokens = np.random.default_rng(0).integers(2, 24, size=(6, 80))
    forward = Forward(model)
    states = forward.run(tokens, np.zeros(6, np.int64), forward.new_cache(6))
    exact = forward.logits(states).reshape(6, 80, VOCAB)
    plain = np.stack([float_logits(model, row.tolist()) for row in tokens])
    assert np.sqrt(np.mean((exact - plain) ** 2)) < 0.01  # logits have standard deviation 1.5
    assert np.abs(exact - plain).max() < 0.1


@pytest.mark.parametrize("name", ["tiny-0.2m", "tiny-0.8m", "tiny-3m"])
def test_packaged_models_keep_their_distribution(name):
    packaged = TinyModel.load(Path(dwell.__file__).parent / "models" / name)
    tokens = packaged.encode("C47+38*3-29\n47+38=85\n85*3=55\n55-29=26\nA26\n")
    forward = Forward(packaged)
    states = forward.run(np.array([tokens]), np.zeros(1, np.int64), forward.new_cache(1))
    exact = forward.logits(states)[:, packaged.sampleable].astype(np.float64)
    plain = float_logits(packaged, tokens)[:, packaged.sampleable].astype(np.float64)
    exact -= np.log(np.exp(exact).sum(axis=1, keepdims=True))
    plain -= np.log(np.exp(plain).sum(axis=1, keepdims=True))
    divergence = (np.exp(plain) * (plain - exact)).sum(axis=1)
    assert divergence.max() < 2e-3  # nats a token
    assert np.sqrt(np.mean((exact - plain) ** 2)) < 0.02


def test_feeding_at_once_equals_feeding_one_by_one(model):
    tokens = np.random.default_rng(1).integers(2, 24, size=(3, 70))
    forward = Forward(model)
    whole = forward.run(tokens, np.zeros(3, np.int64), forward.new_cache(3)).copy()
    whole = whole.reshape(3, 70, WIDTH)
    cache = forward.new_cache(3)
    for position in range(70):
        starts = np.full(3, position)
        states = forward.run(tokens[:, position : position + 1], starts, cache)
        np.testing.assert_array_equal(states, whole[:, position])


def test_padding_and_neighbours_change_no_bit_of_a_row(model):
    rng = np.random.default_rng(2)
    tokens = rng.integers(2, 24, size=(5, 40))
    forward = Forward(model)
    alone = forward.run(tokens[2:3, :25], np.zeros(1, np.int64), forward.new_cache(1)).copy()
    beside = forward.run(tokens, np.zeros(5, np.int64), forward.new_cache(5))
    np.testing.assert_array_equal(beside.reshape(5, 40, WIDTH)[2, :25], alone)


def test_every_sum_stays_below_what_float32_holds_exactly(model):
    layer = scale_model(model).layers[0]
    reach = np.sqrt(WIDTH) * (layer.attn_units + 0.5)  # norm of any normalised, rounded input
    codes, _ = row_codes(model.tensors["model.layers.0.self_attn.q_proj.weight"])
    assert reach * np.sqrt((codes**2).sum(axis=1).max()) < EXACT
    down, _ = row_codes(model.tensors["model.layers.0.mlp.down_proj.weight"])
    reach = layer.down_norm + np.sqrt(INNER) / 2
    assert 0.99 * EXACT < reach * np.sqrt((down**2).sum(axis=1).max()) < EXACT


def test_elementwise_functions_do_not_depend_on_position_or_length():
    values = np.random.default_rng(3).normal(size=997).astype(np.float32) * 4
    turn = np.exp(1j * values).astype(np.complex64)
    pairs = np.stack([values, values[::-1]], axis=1).copy().view(np.complex64)[:, 0]
    for function, array in ((np.exp, values), (np.exp, values.astype(np.float64))):
        whole = function(array)
        for start, stop in ((0, 1), (1, 4), (5, 22), (3, 996)):
            np.testing.assert_array_equal(function(array[start:stop].copy()), whole[start:stop])
    product = pairs * turn
    for start, stop in ((0, 1), (1, 4), (5, 22), (3, 996)):
        part = pairs[start:stop].copy() * turn[start:stop].copy()
        np.testing.assert_array_equal(part, product[start:stop])


# draws


def test_order_and_batch_size_change_no_draw(model):
    jobs = random_jobs(60)
    order = np.random.default_rng(4).permutation(60)
    wide = Engine(model, slots=64).generate(jobs)
    narrow = Engine(model, slots=7).generate([jobs[k] for k in order])
    assert all(same(wide[k], result) for k, result in zip(order, narrow, strict=True))


def test_a_draw_alone_equals_the_draw_in_a_batch(model):
    jobs = random_jobs(16, seed=1)
    together = Engine(model, slots=16).generate(jobs)
    alone = [Engine(model, slots=1, cache_tokens=0).generate([job])[0] for job in jobs]
    assert all(map(same, together, alone))


def test_what_is_cached_changes_no_draw(model):
    jobs = random_jobs(20, seed=2)
    engine = Engine(model, slots=8)
    first, second = engine.generate(jobs), engine.generate(jobs)
    assert all(map(same, first, second))
    assert all(r.cached_tokens == r.prompt_tokens - 1 for r in second)


@pytest.mark.parametrize("threads", ["1", "2"])
def test_blas_threads_change_no_draw(folder, threads):
    script = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "import hashlib, test_tiny_engine as t\n"
        "from dwell.generators.tiny_weights import TinyModel\n"
        "from dwell.generators.tiny_engine import Engine\n"
        "engine = Engine(TinyModel.load(sys.argv[1]), slots=64)\n"
        "results = engine.generate(t.random_jobs(40))\n"
        "digest = hashlib.sha256()\n"
        "for r in results:\n"
        "    digest.update(bytes(r.tokens) + r.surprisals.tobytes() + r.hidden.tobytes())\n"
        "print(digest.hexdigest())\n"
    )
    environment = os.environ | {
        "OPENBLAS_NUM_THREADS": threads,
        "PYTHONPATH": str(Path(dwell.__file__).parents[1]),
    }
    command = [sys.executable, "-c", script, str(folder), str(Path(__file__).parent)]
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    own = __import__("hashlib").sha256()
    for r in Engine(TinyModel.load(folder), slots=5).generate(random_jobs(40)):
        own.update(bytes(r.tokens) + r.surprisals.tobytes() + r.hidden.tobytes())
    assert output.stdout.strip() == own.hexdigest()


def test_scoring_a_text_gives_the_bits_of_drawing_it(model):
    jobs = random_jobs(30, seed=3)
    engine = Engine(model, slots=16)
    results = engine.generate(jobs)
    texts = [(j.prompt + r.tokens, len(j.prompt)) for j, r in zip(jobs, results, strict=True)]
    for result, score in zip(results, engine.score(texts), strict=True):
        np.testing.assert_array_equal(score.surprisals, result.surprisals)
        np.testing.assert_array_equal(score.hidden, result.hidden)
        np.testing.assert_array_equal(score.mean_log_probs, result.mean_log_probs)


def test_a_text_continued_from_the_cache_equals_one_read_anew(model):
    engine = Engine(model, slots=8)
    step = Job(prompt=(5, 6, 7), key=3, max_tokens=50, until="step", want=EVERYTHING)
    first = engine.generate([step])[0]
    assert first.status == "step"
    more = replace(step, prompt=step.prompt + first.tokens, key=4)
    continued = engine.generate([more])[0]
    anew = Engine(model, slots=8).generate([more])[0]
    assert same(continued, anew)
    assert (continued.cached_tokens, anew.cached_tokens) == (len(more.prompt) - 1, 0)


def test_draws_of_one_prompt_read_it_once(model):
    jobs = [Job(prompt=(4, 5, 6, 7, 8), key=key, max_tokens=5) for key in range(10)]
    cached = [result.cached_tokens for result in Engine(model, slots=4).generate(jobs)]
    assert cached == [0] + [4] * 9


def test_draws_have_the_frequencies_of_the_model(model):
    num, prompt = 4000, (4, 5, 6)
    jobs = [Job(prompt=prompt, key=key, max_tokens=1) for key in range(num)]
    drawn = [result.tokens[0] for result in Engine(model, slots=128).generate(jobs)]
    logits = float_logits(model, list(prompt))[-1]
    probs = np.where(model.sampleable, np.exp(logits), 0.0)
    probs /= probs.sum()
    errors = np.sqrt(probs * (1 - probs) / num)
    shares = np.bincount(drawn, minlength=VOCAB) / num
    # 4.5 standard errors, plus what rounding the network may move
    assert np.all(np.abs(shares - probs) <= 4.5 * errors + 0.02 * probs)
    assert shares[~model.sampleable].sum() == 0.0


def test_surprisal_is_at_temperature_one_whatever_the_draw(model):
    job = Job(prompt=(4, 5, 6), key=1, max_tokens=1, temperature=0.0, want=EVERYTHING)
    result = Engine(model).generate([job])[0]
    logits = float_logits(model, [4, 5, 6])[-1][model.sampleable].astype(np.float64)
    log_probs = logits - np.log(np.exp(logits).sum())
    assert result.surprisals[0] == pytest.approx(-log_probs.max(), abs=0.05)
    assert result.mean_log_probs[0] == pytest.approx(log_probs.mean(), abs=0.05)


def test_statuses_say_what_ended_a_draw(model):
    engine = Engine(model, slots=32)
    for job, result in zip(jobs := random_jobs(60, seed=5), engine.generate(jobs), strict=True):
        last = result.tokens[-1]
        if result.status == "end":
            assert last == model.eos
        elif result.status == "step":
            assert last == model.newline
            assert job.until == "step"
        else:
            since = (
                len(result.tokens)
                - 1
                - max(
                    [-1, *(k for k, token in enumerate(result.tokens) if token == model.newline)]
                )
            )
            assert len(result.tokens) == job.max_tokens or since == job.step_cap
        assert model.eos not in result.tokens[:-1]


def test_a_stop_token_ends_a_draw(model):
    letter = model.encode("7")[0]
    job = Job(prompt=(4, 5), key=0, max_tokens=90, step_cap=90, stop_tokens=frozenset({letter}))
    results = Engine(model).generate([replace(job, key=key) for key in range(20)])
    assert all(letter not in result.tokens[:-1] for result in results)
    assert any(r.tokens[-1] == letter and r.status == "end" for r in results)


def test_forbidding_the_end_keeps_closing_tokens_from_the_first_place(model):
    job = Job(prompt=(4, 5), key=0, max_tokens=1, temperature=5.0)
    engine = Engine(model, slots=128)
    keys = range(600)
    free = {r.tokens[0] for r in engine.generate([replace(job, key=k) for k in keys])}
    held = engine.generate([replace(job, key=k, forbid_end=True) for k in keys])
    assert model.closing <= free
    assert not model.closing & {r.tokens[0] for r in held}


def test_a_draw_stops_at_the_end_of_the_context(model):
    job = Job(prompt=(4,) * 90, key=0, max_tokens=500, step_cap=500, want=EVERYTHING)
    results = Engine(model).generate([replace(job, key=key) for key in range(20)])
    assert max(len(result.tokens) for result in results) == CONTEXT - 90
    assert all(r.status == "cap" for r in results if len(r.tokens) == 6 and r.tokens[-1] != 1)


def test_hidden_states_are_one_per_newline_written(model):
    for result in Engine(model, slots=32).generate(random_jobs(40, seed=6)):
        assert result.hidden.shape == (result.tokens.count(model.newline), WIDTH)
        norms = np.sqrt((result.hidden**2).mean(axis=1))
        np.testing.assert_allclose(norms, 1.0, atol=1e-3)


# small parts


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


# what is refused


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prompt": ()}, "between 1 and"),
        ({"prompt": (4,) * CONTEXT}, "between 1 and"),
        ({"prompt": (99,)}, "below 32"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": -1.0}, "temperature"),
        ({"key": -1}, "64-bit"),
        ({"want": frozenset({"logits"})}, "want"),
    ],
)
def test_impossible_jobs_are_refused(model, changes, words):
    job = replace(Job(prompt=(4,), key=0, max_tokens=1), **changes)
    with pytest.raises(UsageError, match=words):
        Engine(model).generate([job])


def test_unknown_characters_are_named(model):
    with pytest.raises(UsageError, match="'x'"):
        model.encode("12x")


def test_texts_beyond_the_context_are_not_scored(model):
    with pytest.raises(UsageError, match="fit the context"):
        Engine(model).score([((4,) * (CONTEXT + 1), 1)])


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


# worker processes


def test_worker_processes_change_no_draw(folder, model):
    jobs = random_jobs(40, seed=7)
    alone = Engine(model).generate(jobs)
    texts = [(j.prompt + r.tokens, len(j.prompt)) for j, r in zip(jobs, alone, strict=True)]
    with EnginePool(folder, jobs=2, slots=16) as pool:
        assert all(map(same, alone, pool.generate(jobs)))
        scores = pool.score(texts)
    for result, score in zip(alone, scores, strict=True):
        np.testing.assert_array_equal(score.surprisals, result.surprisals)
    assert not multiprocessing.active_children()


def test_a_pool_recovers_from_a_refused_job_and_a_killed_worker(folder, model):
    jobs = random_jobs(40, seed=8)
    with EnginePool(folder, jobs=2) as pool:
        with pytest.raises(UsageError, match="prompt"):
            pool.generate([*jobs, replace(jobs[0], prompt=())])
        before = pool.generate(jobs)
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
        with pytest.raises(dwell.errors.GeneratorError, match="worker process"):
            pool.generate(jobs)
        assert all(map(same, before, pool.generate(jobs)))


def test_workers_end_when_their_parent_is_killed(folder, tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import multiprocessing, sys, time\n"
        "from dwell.generators.tiny_engine import Job\n"
        "from dwell.generators.tiny_pool import EnginePool\n"
        "if __name__ == '__main__':\n"
        "    pool = EnginePool(sys.argv[1], jobs=2)\n"
        "    pool.generate([Job(prompt=(4,), key=k, max_tokens=1) for k in range(40)])\n"
        "    print(*[p.pid for p in multiprocessing.active_children()], flush=True)\n"
        "    time.sleep(60)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(dwell.__file__).parents[1])}
    command = [sys.executable, str(script), str(folder)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        workers = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert len(workers) == 2
    deadline = time.monotonic() + 20
    while any(map(_alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_alive, workers))


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"
