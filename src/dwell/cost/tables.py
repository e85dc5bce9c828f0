"""Hardware and prices as dated tables that a user can replace: two TOML files.

A peak rate is its maker's; a price is somebody's on a day. Neither is a constant of this library:
every entry says where it is from and when.
"""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from dwell.errors import UsageError

Entry = TypeVar("Entry")

#: Bytes of a weight or cached value of each type.
DTYPE_BYTES: Mapping[str, float] = {
    "fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "int8": 1.0, "fp4": 0.5, "int4": 0.5,
}  # fmt: skip
#: What a type is computed in where a device has no rate of its own for it.
_COMPUTED_IN = {"fp16": "bf16", "int4": "bf16", "fp4": "bf16", "fp8": "bf16", "int8": "bf16"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """Peak rates of one device.

    Attributes:
        name: what the table calls it.
        title: its full name.
        flops: type -> dense peak FLOP/s.
        bytes_per_second: memory bandwidth.
        memory_bytes: memory.
        link_bytes_per_second: to its group, one direction.
        source: where the figures are from.
        date: of the source.
    """

    name: str
    title: str
    flops: Mapping[str, float]
    bytes_per_second: float
    memory_bytes: float
    link_bytes_per_second: float
    source: str
    date: datetime.date

    def peak_flops(self, dtype: str) -> float:
        """Peak FLOP/s for weights of a type, widened to 16 bits where it has no such unit."""
        rate = self.flops.get(dtype)
        return float(rate if rate is not None else self.flops[_COMPUTED_IN.get(dtype, "bf16")])

    def intensity(self, dtype: str) -> float:
        """FLOPs in the time of one byte: `peak / bandwidth`."""
        return self.peak_flops(dtype) / self.bytes_per_second


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What an endpoint asks for a million tokens, in US dollars.

    Attributes:
        model: the model's name.
        input_usd: prompt tokens.
        cached_usd: prompt tokens that the provider had cached.
        output_usd: output tokens, reasoning included.
        date: when this was the price.
        source: where it was read.
    """

    model: str
    input_usd: float
    cached_usd: float
    output_usd: float
    date: datetime.date
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """A price table.

    Attributes:
        path: its file, for messages.
        models: name -> price of tokens.
        usd_per_hour: hardware -> (dollars an hour of one device, date, source).
    """

    path: str
    models: Mapping[str, Price]
    usd_per_hour: Mapping[str, tuple[float, datetime.date, str]]

    def model(self, name: str) -> Price:
        """The price of a model.

        Raises:
            UsageError: the table has none.
        """
        return _named(self.models, name, "a priced model", self.path)


def hardware_table(path: Path | str | None = None) -> Mapping[str, Hardware]:
    """Hardware by name, from a file of the form of `dwell/cost/hardware.toml`.

    Args:
        path: the file; None = the one in the package.

    Raises:
        UsageError: it cannot be read, or an entry lacks a field.
    """
    shown, tables = _read(path, "hardware.toml")
    found = {}
    for name, row in tables.items():
        rates = _field(row, "flops", name, shown)
        if not isinstance(rates, dict) or "bf16" not in rates:
            raise UsageError(
                f"`flops` of {name!r} must be a table with `bf16` at least, but {shown} has "
                f"{rates!r}. Write flops = {{ bf16 = 1e14 }}."
            )
        found[name] = Hardware(
            name=name,
            title=str(row.get("title", name)),
            flops={key: _positive(value, f"{name}.flops", shown) for key, value in rates.items()},
            **{key: _positive(_field(row, key, name, shown), f"{name}.{key}", shown)
               for key in ("bytes_per_second", "memory_bytes", "link_bytes_per_second")},
            source=str(_field(row, "source", name, shown)),
            date=_date(row, name, shown),
        )  # fmt: skip
    return found


def find_hardware(name: str, path: Path | str | None = None) -> Hardware:
    """One entry of the table of hardware.

    Raises:
        UsageError: there is no such entry; the message lists what there is.
    """
    shown = "the hardware table" if path is None else str(path)
    return _named(hardware_table(path), name, "hardware", shown)


def read_prices(path: Path | str | None = None) -> Prices:
    """A price table, from a file of the form of `dwell/cost/prices.toml`.

    Args:
        path: the file; None = the dated example in the package.

    Raises:
        UsageError: it cannot be read, or an entry lacks its price, date or source.
    """
    shown, tables = _read(path, "prices.toml")
    models = {
        name: Price(
            model=name,
            **{f"{key}_usd": _amount(_field(row, key, name, shown), f"{name}.{key}", shown)
               for key in ("input", "cached", "output")},
            date=_date(row, name, shown),
            source=str(_field(row, "source", name, shown)),
        )
        for name, row in tables.get("models", {}).items()
    }  # fmt: skip
    hourly = {
        name: (
            _amount(_field(row, "usd_per_hour", name, shown), f"{name}.usd_per_hour", shown),
            _date(row, name, shown),
            str(_field(row, "source", name, shown)),
        )
        for name, row in tables.get("hardware", {}).items()
    }
    return Prices(path=shown, models=models, usd_per_hour=hourly)


# ---- reading ---------------------------------------------------------------------------------


def _read(path: Path | str | None, packaged: str) -> tuple[str, dict[str, Any]]:
    shown = packaged if path is None else str(path)
    try:
        source = files("dwell.cost") / packaged if path is None else Path(path)
        return shown, tomllib.loads(source.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(
            f"a table must be a readable TOML file, but got {shown!r} ({error}). The package's "
            f"own {packaged} shows the form."
        ) from error


def _named(entries: Mapping[str, Entry], name: str, what: str, shown: str) -> Entry:
    if name not in entries:
        raise UsageError(
            f"{what} must be one of {', '.join(entries)}, but got {name!r}. "
            f"Add it to a copy of the table ({shown}) and pass that."
        )
    return entries[name]


def _field(row: Any, key: str, name: str, shown: str) -> Any:
    if not isinstance(row, dict) or key not in row:
        raise UsageError(f"an entry must have `{key}`, but {name!r} in {shown} lacks it. Add it.")
    return row[key]


def _amount(value: Any, what: str, shown: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise UsageError(f"`{what}` must be a number >= 0, but {shown} has {value!r}.")
    return float(value)


def _positive(value: Any, what: str, shown: str) -> float:
    if _amount(value, what, shown) == 0:
        raise UsageError(f"`{what}` must be above 0, but {shown} has {value!r}.")
    return float(value)


def _date(row: Mapping[str, Any], name: str, shown: str) -> datetime.date:
    value = _field(row, "date", name, shown)
    if not isinstance(value, datetime.date):
        raise UsageError(
            f"`date` of {name!r} must be a date, but {shown} has {value!r}. Write 2025-01-31."
        )
    return value
