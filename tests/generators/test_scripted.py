"""The scripted generator: known rates, determinism, and every way to halt."""

import math
import time

import numpy as np
import pytest

from dwell.errors import UsageError
from dwell.generators.scripted import Latency, Scripted, split_tokens, uniforms
from dwell.protocols import GenerateWork, Generator
from dwell.records import Candidate, Context, Draw, Problem
from dwell.requests import Generate, Perturb

PROBLEM = Problem(id="p", prompt="how many words")
SEEDS = (uniforms(range(100_000), 99) * 2**63).astype(np.uint64).tolist()


def work(count, *, first=0, partial="", **options):
    context = Context(messages=(("user", PROBLEM.prompt),), partial=partial)
    return GenerateWork(
        request=Generate(context, n=count, **options),
        seeds=SEEDS[first : first + count],
        indices=list(range(first, first + count)),
        problem=PROBLEM,
    )


async def draws_of(generator, *items):
    return [list(outcome.draws) for outcome in await generator.generate(items)]


def test_scripted_is_a_generator():
    assert isinstance(Scripted.coin(), Generator)


@pytest.mark.parametrize("rate", [0.0, 0.03, 0.3, 1.0])
async def test_coin_is_right_at_its_rate(rate):
    (draws,) = await draws_of(Scripted.coin(rate), work(20_000))
    share = np.mean([draw.text == "1" for draw in draws])
    assert abs(share - rate) <= 4 * math.sqrt(rate * (1 - rate) / 20_000)


@pytest.mark.parametrize("steps", [2, 5])
async def test_coin_of_several_lines_ends_right_at_its_rate(steps):
    (draws,) = await draws_of(Scripted.coin(0.3, steps=steps), work(20_000))
    answers = [draw.text.split("\n")[-1] for draw in draws]
    assert abs(np.mean([a == "1" for a in answers]) - 0.3) <= 4 * math.sqrt(0.21 / 20_000)
    assert all(len(draw.text.split("\n")) == steps for draw in draws)


async def test_coin_drawn_line_by_line_has_the_same_rate():
    generator, partials = Scripted.coin(0.3, steps=3), [""] * 1500
    for step in range(3):
        items = [
            work(1, first=1500 * step + k, partial=partial, until="step")
            for k, partial in enumerate(partials)
        ]
        drawn = [draws[0] for draws in await draws_of(generator, *items)]
        assert {draw.status for draw in drawn} == {"end" if step == 2 else "step"}
        partials = [p + draw.text for p, draw in zip(partials, drawn, strict=True)]
    share = np.mean([text.endswith("\n1") for text in partials])
    assert abs(share - 0.3) <= 4 * math.sqrt(0.21 / 1500)


async def test_a_right_prefix_ends_right_more_often():
    (draws,) = await draws_of(Scripted.coin(0.25, steps=2), work(20_000, partial="1\n"))
    share = np.mean([draw.text == "1" for draw in draws])
    assert abs(share - 0.5) <= 4 * math.sqrt(0.25 / 20_000)


async def test_draws_do_not_depend_on_the_batch():
    generator = Scripted.from_function(
        lambda context, index, rng: f"{index} {rng.integers(1000)}",
        failure_rate=0.2, latency=Latency(base_seconds=1, sigma=0.5),
    )  # fmt: skip
    (together,) = await draws_of(generator, work(50))
    alone = await draws_of(generator, *[work(1, first=k) for k in reversed(range(50))])
    assert together == [draws[0] for draws in reversed(alone)]


async def test_list_is_drawn_in_order_and_begun_again():
    (draws,) = await draws_of(Scripted.from_list(["a", "b c"]), work(5))
    assert [draw.text for draw in draws] == ["a", "b c", "a", "b c", "a"]
    assert [draw.output_tokens for draw in draws] == [1, 2, 1, 2, 1]
    assert draws[0].prompt_tokens == 3


async def test_list_of_whole_answers_serves_continuations():
    generator = Scripted.from_list(["x\ny\nz"])
    texts, statuses, partial = [], [], ""
    while not statuses or statuses[-1] == "step":
        ((draw,),) = await draws_of(generator, work(1, partial=partial, until="step"))
        partial += draw.text
        texts.append(draw.text)
        statuses.append(draw.status)
    assert (texts, statuses) == (["x\n", "y\n", "z"], ["step", "step", "end"])


async def test_cap_cuts_after_whole_tokens():
    ((draw,),) = await draws_of(Scripted.from_list(["one two three"]), work(1, max_tokens=2))
    assert (draw.text, draw.status, draw.output_tokens) == ("one two ", "cap", 2)


async def test_stop_text_is_left_out():
    ((draw,),) = await draws_of(Scripted.from_list(["one. two."]), work(1, stop=(".",)))
    assert (draw.text, draw.status) == ("one", "end")


async def test_failures_come_at_their_rate_with_a_reason():
    (draws,) = await draws_of(Scripted.coin(failure_rate=0.1), work(20_000))
    failed = [draw for draw in draws if draw.status == "failed"]
    assert abs(len(failed) / 20_000 - 0.1) <= 4 * math.sqrt(0.09 / 20_000)
    assert {draw.text for draw in failed} == {"scripted failure"}


async def test_latency_follows_its_law():
    law = Latency(base_seconds=1.0, seconds_per_token=0.5, sigma=0.4)
    (draws,) = await draws_of(Scripted.from_list(["a b"], latency=law), work(20_000))
    seconds = np.array([draw.seconds for draw in draws])
    spread = 2.0 * math.sqrt(math.expm1(0.4**2))
    assert abs(seconds.mean() - 2.0) <= 4 * spread / math.sqrt(20_000)
    assert np.log(seconds).std() == pytest.approx(0.4, rel=0.05)


async def test_real_time_waits_for_the_longest_draw():
    law = Latency(base_seconds=0.05)
    started = time.monotonic()
    await draws_of(Scripted.coin(latency=law, real_time=True), work(8))
    assert time.monotonic() - started >= 0.049


async def test_statistics_are_returned_where_wanted_and_by_annotation():
    generator = Scripted.from_list(["a b"], stats={"length": lambda c, text: float(len(text))})
    assert "length" in generator.provides
    ((plain,), (full,)) = await draws_of(
        generator, work(1), work(1, want=frozenset({"length", "other"}))
    )
    assert (plain.stats, full.stats) == (None, {"length": 3.0})
    noted = await generator.annotate([(PROBLEM.context(), "a b")], frozenset({"length"}))
    assert list(noted) == [{"length": 3.0}]


async def test_recorded_draws_are_copied():
    item = Draw(text="kept", value=1.0, output_tokens=7)
    ((first, second),) = await draws_of(Scripted.from_list([item]), work(2))
    first.text = "changed"
    assert (second.text, item.text, second.output_tokens) == ("kept", "kept", 7)


async def test_perturb_follows_its_function_or_is_refused():
    candidate = Candidate(PROBLEM.context(), "a", "end")
    request = Perturb(candidate, kind="noise", size=0.5)
    generator = Scripted.coin(perturb_fn=lambda r, rng: r.candidate.text + " b")
    assert (await generator.perturb(request, 1)).text == "a b"
    with pytest.raises(UsageError, match="perturb_fn"):
        await Scripted.coin().perturb(request, 1)


def test_fingerprint_names_the_script():
    def build(rate, scale):
        return Scripted.from_function(lambda c, i, rng: str(rng.random() < rate * scale))

    assert build(0.3, 1).fingerprint == build(0.3, 1).fingerprint
    assert build(0.3, 1).fingerprint != build(0.4, 1).fingerprint
    assert Scripted.coin(0.3).fingerprint == Scripted.coin(0.3, concurrency=2).fingerprint
    assert Scripted.coin(0.3).fingerprint != Scripted.coin(0.31).fingerprint
    assert Scripted.from_list(["a"]).fingerprint != Scripted.from_list(["b"]).fingerprint
    assert Scripted.from_function(len, name="x").fingerprint != build(0.3, 1).fingerprint


def test_flops_and_shared_prompt_count_tokens():
    usage = Scripted.coin(flops_per_token=2.0).shared_prompt(5)
    assert (usage.flops, usage.cached_tokens) == (10.0, 5)


@pytest.mark.parametrize("text", ["", " ", "a", " a  b\n", "\n\n", "x y z"])
def test_tokens_join_to_the_text(text):
    assert "".join(split_tokens(text)) == text


@pytest.mark.parametrize(
    "build",
    [
        lambda: Scripted.coin(1.5),
        lambda: Scripted.coin(steps=0),
        lambda: Scripted.coin(right="a", wrong="a"),
        lambda: Scripted.coin(failure_rate=-0.1),
        lambda: Scripted.coin(concurrency=0),
        lambda: Scripted.from_list([]),
        lambda: Latency(base_seconds=-1),
    ],
)
def test_bad_scripts_are_refused(build):
    with pytest.raises(UsageError, match="but got"):
        build()


async def test_coin_makes_draws_in_bulk():
    items = [work(64, first=64 * k) for k in range(300)]
    generator = Scripted.coin(0.3)
    started = time.process_time()
    await generator.generate(items)
    assert 300 * 64 / (time.process_time() - started) > 40_000
