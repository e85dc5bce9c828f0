"""Dollars of endpoints and of rented hardware, and the tables that they are read from."""

import datetime

import numpy as np
import pytest
from cost_worlds import EIGHT, H200, work

from dwell.cost import (
    Price,
    call_usd,
    find_hardware,
    hardware_table,
    latency,
    read_prices,
    samples_usd,
    self_hosted_usd_per_mtok,
)
from dwell.errors import UsageError

PRICE = Price(
    model="m", input_usd=0.5, cached_usd=0.05, output_usd=2.0,
    date=datetime.date(2025, 1, 1), source="made up",
)  # fmt: skip


@pytest.mark.parametrize(
    ("billing", "usd"), [("separate", 0.0320), ("cached", 0.0257), ("together", 0.0250)]
)
def test_eight_answers_to_one_prompt(billing, usd):
    assert samples_usd(PRICE, 2000, 1500, 8, billing=billing) == pytest.approx(usd)


def test_calls_are_billed_each():
    usd = call_usd(PRICE, [1000, 1000], [0, 500], cached_tokens=[0, 400])
    np.testing.assert_allclose(usd, [5e-4, 3e-4 + 2e-5 + 1e-3])
    with pytest.raises(UsageError, match="monthly"):
        samples_usd(PRICE, 1, 1, 1, billing="monthly")


def test_rented_hardware_of_the_worked_example():
    seconds = latency(EIGHT, work(), H200).decode
    usd = self_hosted_usd_per_mtok(3.0, seconds, 8 * 8192)
    assert usd == pytest.approx(0.4350, abs=5e-5)
    assert self_hosted_usd_per_mtok(3.0, seconds, 8 * 8192, 0.5) == pytest.approx(2 * usd)
    with pytest.raises(UsageError, match="utilisation"):
        self_hosted_usd_per_mtok(3.0, seconds, 1, 0)


def test_every_entry_of_the_shipped_tables_has_date_and_source():
    prices = read_prices()
    assert prices.models["example"].output_usd == 2.0
    for price in prices.models.values():
        assert price.date.year >= 2024
        assert price.source
    for device in hardware_table().values():
        assert device.source
        assert device.bytes_per_second < min(device.flops.values())


def test_a_price_table_of_ones_own(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text(
        "[models.mine]\ninput = 1\ncached = 0\noutput = 2.5\ndate = 2026-01-02\n"
        "source = 'a bill'\n[hardware.h200]\nusd_per_hour = 2\ndate = 2026-01-02\n"
        "source = 'a bill'\n"
    )
    prices = read_prices(path)
    assert prices.model("mine").output_usd == 2.5
    assert prices.usd_per_hour["h200"] == (2.0, datetime.date(2026, 1, 2), "a bill")
    with pytest.raises(UsageError, match="yours"):
        prices.model("yours")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[models.m]\ninput = 1\n", "`cached`"),
        ("[models.m]\ninput = -1\ncached = 0\noutput = 1\n", "number >= 0"),
        ("[models.m]\ninput=1\ncached=0\noutput=1\nsource='x'\ndate='today'\n", "date"),
        ("[models.m", "readable TOML"),
    ],
)
def test_a_bad_price_table_is_refused_by_name(tmp_path, text, says):
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(UsageError, match=says):
        read_prices(tmp_path / "p.toml")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[a]\nflops = 1e12\n", "`flops`"),
        ("[a]\nflops = { bf16 = 1e12 }\n", "bytes_per_second"),
        ("[a]\nflops = { bf16 = 0 }\n", "above 0"),
    ],
)
def test_a_bad_hardware_table_is_refused_by_name(tmp_path, text, says):
    (tmp_path / "h.toml").write_text(text)
    with pytest.raises(UsageError, match=says):
        hardware_table(tmp_path / "h.toml")


def test_hardware_that_is_not_there_is_named_with_what_is():
    with pytest.raises(UsageError, match=r"h200.*got 'h300'"):
        find_hardware("h300")
