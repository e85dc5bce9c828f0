"""An OpenAI-compatible server that spends test-time compute on every request.

Read in this order: `server` (routes), `asking` (what a client may ask), `live` (one request's
run), `sources` (who makes draws), `replies` (what goes back), `journal` (what is remembered).
"""

from dwell.serve.server import Server
from dwell.serve.settings import Settings

__all__ = ["Server", "Settings"]
