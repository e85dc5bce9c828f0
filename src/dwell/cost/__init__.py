"""What inference costs: operations, bytes, seconds and dollars of a described model.

Pure functions on sizes. Nothing here was measured on hardware: times are lower bounds, and prices
are inputs with a date.
"""

from dwell.cost.dollars import call_usd, samples_usd, self_hosted_usd_per_mtok
from dwell.cost.equivalent import (
    KINETICS_INTENSITY,
    Equivalent,
    context_area,
    equivalent_flops,
    inference_multiplier,
    samples_of_equal_flops,
)
from dwell.cost.estimate import Deployment, Estimate, estimate
from dwell.cost.latency import (
    Latency,
    Precision,
    Traffic,
    Workload,
    balance_batch,
    latency,
    speculative_seconds,
    traffic,
)
from dwell.cost.layers import experts_read
from dwell.cost.shape import ModelShape
from dwell.cost.tables import (
    Hardware,
    Price,
    Prices,
    find_hardware,
    hardware_table,
    read_prices,
)

__all__ = [
    "KINETICS_INTENSITY",
    "Deployment",
    "Equivalent",
    "Estimate",
    "Hardware",
    "Latency",
    "ModelShape",
    "Precision",
    "Price",
    "Prices",
    "Traffic",
    "Workload",
    "balance_batch",
    "call_usd",
    "context_area",
    "equivalent_flops",
    "estimate",
    "experts_read",
    "find_hardware",
    "hardware_table",
    "inference_multiplier",
    "latency",
    "read_prices",
    "samples_of_equal_flops",
    "samples_usd",
    "self_hosted_usd_per_mtok",
    "speculative_seconds",
    "traffic",
]
