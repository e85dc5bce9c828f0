"""Recorded samples: tables of them as arrays, and as a generator that strategies run on."""

from dwell.recordings.arrays import NO_ANSWER, Recording, order_of, orders

__all__ = ["NO_ANSWER", "Recording", "order_of", "orders"]
