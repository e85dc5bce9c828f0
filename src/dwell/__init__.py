"""dwell: spend test-time compute where it buys accuracy."""

__version__ = "0.1.0"
