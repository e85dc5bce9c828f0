"""The engine: runs strategies against generators and verifiers, through a ledger.

Read in this order: `loop` (the turn of the engine), `session` (one run), `threads` (how a
strategy's concurrent work waits), `charging` (what a delivery costs), `keyring` (which draws a
request means), `dispatch` (how missing draws are made).
"""

from dwell.driver.loop import Driver, Progress, RunPlan

__all__ = ["Driver", "Progress", "RunPlan"]
