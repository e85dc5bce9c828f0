"""An OpenAI-compatible server that spends test-time compute on every request.

Read in this order: `server` (routes), `asking` (what a client may ask), `completing` (from a
request to its reply), `live` (one run of a strategy), `deadlines` (which reply is begun when),
`draws` (who makes draws: `upstream`, `embedded`), `replies` (what goes back), `journal` (what is
remembered).
"""

from dwell.serve.server import Server
from dwell.serve.settings import Settings

__all__ = ["Server", "Settings"]
