"""Replays: what strategies would have got on recorded draws. No model is called."""

from dwell.replays.asking import BOUNDS, asked
from dwell.replays.dispatch import Settings
from dwell.replays.engine import FEW_CURVES, panels, replay

__all__ = ["BOUNDS", "FEW_CURVES", "Settings", "asked", "panels", "replay"]
