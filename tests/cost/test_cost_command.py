"""`dwell cost`: its table and its JSON, and what it refuses."""

import json

import pytest
from click.testing import CliRunner
from cost_worlds import CONFIG

from dwell.cli import cli
from dwell.errors import UsageError


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG))
    return str(path)


def run(*words):
    result = CliRunner().invoke(cli, ["cost", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


WORK = ("--prompt", "512", "--output", "8192", "--n", "8", "--hardware", "h200")


def test_json_has_the_worked_example(config):
    found = json.loads(run(config, *WORK, "--intensity", "562.5", "--json"))
    assert found["latency"]["decode"] == pytest.approx(34.212, abs=5e-4)
    assert found["traffic"]["cache_reads"] == pytest.approx(4.020573e13, rel=1e-6)
    assert found["cache_bytes_peak"] / 2**30 == pytest.approx(9.0703, abs=5e-5)
    assert found["equivalent_flops"] == pytest.approx(2.386e16, rel=1e-3)
    assert found["tokens_per_second"] == pytest.approx(239.5, abs=0.05)
    assert found["usd"] == {}
    assert found["fits"]


def test_table_says_bounds_sources_and_dollars(config):
    text = run(config, *WORK, "--model", "example", "--usd-per-hour", "3")
    for words in ("36 attention", "34.21 s", "0.4351", "lower bounds", "data sheet", "2025-01-01"):
        assert words in text


def test_an_embedded_model_is_known_by_name():
    found = json.loads(run("tiny-0.2m", "--hardware", "cpu-laptop", "--n", "4", "--json"))
    assert found["total_parameters"] == 205_376


def test_sparse_attention_costs_less(config):
    dense, sparse, block = (
        json.loads(run(config, *WORK, "--json", *more))["equivalent_flops"]
        for more in ((), ("--sparse", "1024"), ("--block-sparse", "1024"))
    )
    assert sparse < block < dense


def test_a_price_table_gives_hours_too(config, tmp_path):
    path = tmp_path / "p.toml"
    path.write_text("[hardware.h200]\nusd_per_hour = 2\ndate = 2026-01-02\nsource = 'a bill'\n")
    found = json.loads(run(config, *WORK, "--prices", str(path), "--json"))
    assert found["usd_per_hour"] == 2.0
    assert found["self_hosted_usd"] == pytest.approx(2 / 3600 * 34.219, rel=1e-4)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--hardware", "h300"), "h300"),
        (("--sparse", "8", "--block-sparse", "8"), "one way"),
        (("--n", "0"), "samples"),
        (("--model", "nobody"), "nobody"),
        (("--devices", "0"), "devices"),
    ],
)
def test_what_cannot_be_is_refused_by_name(config, more, says):
    with pytest.raises(UsageError, match=says):
        run(config, *more)
    with pytest.raises(UsageError, match="embedded model"):
        run("no-such-model")


def test_experts_that_a_step_reads_are_shown(tmp_path):
    experts = {"model_type": "qwen3_moe", "num_experts": 128, "num_experts_per_tok": 8,
               "moe_intermediate_size": 768}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | experts))
    text = run(str(tmp_path), "--n", "16")
    assert "82.4 of 128 (8 a token)" in text
    assert "parameters active for a token" in text
