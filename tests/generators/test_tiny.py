"""The embedded model as a generator: determinism, statistics, accounts and limits."""

import asyncio
import shutil

import numpy as np
import pytest

from dwell.errors import UsageError
from dwell.generators.tiny import (
    MODELLED_FLOPS_PER_SECOND,
    MODELLED_SLOTS,
    StepScorer,
    TinyGenerator,
    prompt_text,
)
from dwell.generators.tiny_models import MODELS, model_shape
from dwell.protocols import Annotates, GenerateWork, Generator
from dwell.records import Context, Problem
from dwell.requests import Generate

PROBLEM = Problem(id="p", prompt="C47+38*3-29\n", task="chain", markers={"wait": "W\n"})
ALL = frozenset({"surprisal", "step_value", "self_certainty"})


@pytest.fixture(scope="module")
def generator(tiny_folder):
    return TinyGenerator(tiny_folder)


def work(count=1, *, first=0, context=None, problem=PROBLEM, **options):
    return GenerateWork(
        request=Generate(context or problem.context(), n=count, **options),
        seeds=[7**20 + first + k for k in range(count)],
        indices=list(range(first, first + count)),
        problem=problem,
    )


async def draws_of(generator, *items):
    return [list(outcome.draws) for outcome in await generator.generate(items)]


def same(one, other):
    plain = ("text", "status", "flops", "seconds", "cached_tokens", "output_tokens")
    return all(getattr(one, name) == getattr(other, name) for name in plain) and all(
        np.array_equal(one.stats[name], other.stats[name], equal_nan=True) for name in one.stats
    )


def test_tiny_is_a_generator_that_annotates(generator):
    assert isinstance(generator, Generator)
    assert isinstance(generator, Annotates)
    assert generator.provides >= {"partial", "step", "forbid_end", "shared_prefix"} | ALL
    assert generator.default_max_tokens == 160


async def test_draws_do_not_depend_on_the_batch(generator):
    other = Problem(id="q", prompt="G3 7 25 4>68\n")
    together = await draws_of(
        generator, work(6, want=ALL), work(3, problem=other, want=ALL, until="step")
    )
    for k in reversed(range(6)):
        ((alone,),) = await draws_of(generator, work(first=k, want=ALL))
        assert same(alone, together[0][k])
    assert len({draw.text for draw in together[0]}) > 1


async def test_worker_processes_give_the_same_draws(tiny_folder, generator):
    pooled = TinyGenerator(tiny_folder, jobs=2)
    try:
        (here,) = await draws_of(generator, work(40, want=ALL, max_tokens=30))
        (there,) = await draws_of(pooled, work(40, want=ALL, max_tokens=30))
    finally:
        await pooled.close()
    assert all(same(a, b) for a, b in zip(here, there, strict=True))


async def test_annotation_gives_the_bits_of_generation(generator):
    (draws,) = await draws_of(generator, work(8, want=ALL))
    found = await generator.annotate([(PROBLEM.context(), draw.text) for draw in draws], ALL)
    for draw, stats in zip(draws, found, strict=True):
        assert set(stats) == ALL
        assert all(np.array_equal(stats[k], draw.stats[k], equal_nan=True) for k in ALL)
        assert len(draw.stats["surprisal"]) == len(draw.text)
        assert len(draw.stats["step_value"]) == draw.text.count("\n")


@pytest.mark.parametrize("marker", ["", "W\n"])
async def test_statistics_of_a_continued_text_are_of_the_whole_text(generator, marker):
    context = PROBLEM.context()
    for k in range(3):
        item = work(first=k, context=context, want=ALL, until="step")
        ((draw,),) = await draws_of(generator, item)
        text = context.partial + draw.text
        (stats,) = await generator.annotate([(PROBLEM.context(), text)], ALL)
        assert all(np.array_equal(stats[s], draw.stats[s], equal_nan=True) for s in ALL)
        assert len(draw.stats["step_value"]) == text.count("\n")
        context = Context(context.messages, partial=text + marker)


async def test_forgotten_texts_are_read_again_to_the_same_bits(tiny_folder, generator):
    item = work(first=4, want=ALL, until="step")
    ((draw,),) = await draws_of(generator, item)
    context = Context(PROBLEM.context().messages, partial=draw.text)
    ((remembered,),) = await draws_of(generator, work(context=context, want=ALL))
    ((read,),) = await draws_of(TinyGenerator(tiny_folder), work(context=context, want=ALL))
    assert same(remembered, read)


async def test_statistics_come_only_where_wanted(generator):
    (plain, some) = await draws_of(generator, work(), work(want=frozenset({"surprisal"})))
    assert plain[0].stats is None
    assert set(some[0].stats) == {"surprisal"}
    assert plain[0].text == some[0].text


async def test_self_certainty_is_the_mean_divergence_from_uniform(generator):
    ((draw,),) = await draws_of(generator, work(want=ALL))
    tokens = generator.model.encode(PROBLEM.prompt + draw.text)
    (score,) = generator._pool.score([(tokens, len(PROBLEM.prompt))])
    num_drawable = np.count_nonzero(generator.model.sampleable)
    expected = -np.log(num_drawable) - score.mean_log_probs.astype(float).mean()
    assert draw.stats["self_certainty"] == pytest.approx(expected, abs=1e-6)
    assert draw.stats["self_certainty"] > 0


async def test_accounts_follow_the_declared_formulas(generator, tiny_folder):
    (draws,) = await draws_of(generator, work(3))
    shape, prompt = model_shape(tiny_folder), len(PROBLEM.prompt)
    a = 2 * shape.product_weights / MODELLED_FLOPS_PER_SECOND
    for index, draw in enumerate(draws):
        out = draw.output_tokens
        assert (draw.prompt_tokens, draw.cached_tokens) == (prompt, prompt if index else 0)
        assert draw.flops == shape.prefill_flops(prompt) + shape.decode_flops(prompt, out)
        assert draw.seconds == pytest.approx(a * prompt + a * MODELLED_SLOTS * out)
        assert out == len(draw.text) + (draw.status == "end")  # the end token is generated too
    shared = generator.shared_prompt(prompt)
    assert shared.flops == shape.prefill_flops(prompt)
    assert 0 < shared.seconds < draws[0].seconds


async def test_halting_rules_are_obeyed(generator):
    (steps, capped, stopped) = await draws_of(
        generator, work(5, until="step"), work(5, max_tokens=4), work(5, stop=("=",))
    )
    for draw in steps:
        assert draw.status in ("step", "end", "cap")
        assert (draw.text.count("\n") == 1) == (draw.status == "step")
    assert all(draw.output_tokens <= 4 for draw in capped)
    assert all("=" not in draw.text for draw in stopped)


async def test_greedy_draws_do_not_depend_on_the_seed(generator):
    (draws,) = await draws_of(generator, work(4, temperature=0.0))
    assert len({draw.text for draw in draws}) == 1


async def test_an_end_can_be_forbidden(generator):
    finished = Context(PROBLEM.context().messages, partial="47+38=85\n85*3=55\n55-29=26\nA26\n")
    (draws,) = await draws_of(generator, work(30, context=finished, forbid_end=True))
    assert all(draw.text and draw.text[0] != "A" for draw in draws)


async def test_a_full_window_gives_no_text_and_no_error(generator):
    room = generator.model.config.max_positions
    full = Context(PROBLEM.context().messages, partial="1" * (room - len(PROBLEM.prompt)))
    nearly = Context(PROBLEM.context().messages, partial="1" * (room - len(PROBLEM.prompt) - 2))
    (none, some) = await draws_of(
        generator, work(2, context=full, want=ALL), work(2, context=nearly, want=ALL)
    )
    assert [(d.status, d.text, d.output_tokens) for d in none] == [("cap", "", 0)] * 2
    assert all(draw.output_tokens <= 2 for draw in some)
    assert set(none[0].stats) == ALL


async def test_unreadable_texts_are_refused(generator):
    with pytest.raises(UsageError, match="'w'"):
        await generator.generate([work(problem=Problem(id="x", prompt="what"))])
    with pytest.raises(UsageError, match="one character"):
        await generator.generate([work(stop=("ab",))])


async def test_the_event_loop_stays_free(generator):
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    await generator.generate([work(64)])
    ticking.cancel()
    assert ticks > 10


def test_fingerprint_names_the_distribution_alone(tiny_folder, generator, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(tiny_folder, bare)
    (bare / "value_head.safetensors").unlink()
    prints = [
        TinyGenerator(tiny_folder, jobs=2, batch=3).fingerprint,
        TinyGenerator(tiny_folder, temperature=0.5).fingerprint,
        TinyGenerator(tiny_folder, max_tokens=50).fingerprint,
        TinyGenerator(bare).fingerprint,
    ]
    assert prints[0] == generator.fingerprint
    assert len(set(prints)) == 4
    assert "step_value" not in TinyGenerator(bare).provides
    with pytest.raises(UsageError, match="value_head"):
        StepScorer(bare)


def test_scorer_gives_the_generators_own_values(tiny_folder, generator):
    scorer = StepScorer(tiny_folder)
    context = PROBLEM.context()
    texts = ["47+38=85\n85*3=55\n", "47+38=85\n", "", "47"]
    found = scorer.logits([(context, text) for text in texts])
    stats = asyncio.run(generator.annotate([(context, text) for text in texts], ALL))
    assert [list(logits) for logits, _ in found] == [s["step_value"].tolist() for s in stats]
    assert [tokens for _, tokens in found] == [len(PROBLEM.prompt + text) for text in texts]
    assert scorer.flops(20) > 0
    assert scorer.seconds(20) > 0


def test_packaged_models_are_listed_smallest_first():
    sizes = [model.num_parameters for model in MODELS.values()]
    assert sizes == sorted(sizes)
    assert TinyGenerator("tiny-0.2m").model.num_parameters == sizes[0]
    assert all(model.num_bytes > 0 for model in MODELS.values())


@pytest.mark.parametrize(
    "options",
    [{"name_or_path": "tiny-9t"}, {"jobs": 0}, {"max_tokens": 0}, {"temperature": -1.0},
     {"batch": 0}],
)  # fmt: skip
def test_bad_arguments_are_refused(options):
    with pytest.raises(UsageError):
        TinyGenerator(**{"name_or_path": "tiny-0.2m", **options})


def test_template_joins_the_messages():
    context = Context((("user", "C1+2\n"), ("assistant", "1+2=3\n"), ("user", "W\n")))
    assert prompt_text(context) == "C1+2\n1+2=3\nW\n"
