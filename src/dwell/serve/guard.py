"""Who may ask, how often, and how many at once."""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict

from aiohttp import web

from dwell.serve.asking import Refused
from dwell.serve.settings import Settings, key_digest

#: Callers whose rate is remembered; the one seen longest ago is forgotten first.
MOST_CALLERS = 10_000


class Guard:
    """Checks callers against a server's settings.

    Attributes:
        in_flight: requests being answered.
        draining: whether the server is stopping and takes no more.
    """

    def __init__(self, settings: Settings) -> None:
        self.in_flight = 0
        self.draining = False
        self._settings = settings
        self._allowances: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def caller(self, request: web.Request) -> str:
        """Who calls: a key's digest, or an address where no keys are asked for.

        Raises:
            Refused: the key is missing or wrong.
        """
        known = self._settings.key_digests
        if not known:
            return request.remote or "local"
        given = request.headers.get("Authorization", "")
        scheme, _, key = given.partition(" ")
        digest = key_digest(key.strip())
        # All keys are compared, in constant time each: how long it takes tells nothing.
        found = [hmac.compare_digest(digest, one) for one in known]
        if scheme.lower() != "bearer" or not any(found):
            headers = {"WWW-Authenticate": "Bearer"}
            raise Refused(401, "invalid_api_key", "A valid key is needed.", headers=headers)
        return digest.hex()

    def admit(self, caller: str) -> None:
        """Take one more request of a caller.

        Raises:
            Refused: the server stops, is full, or the caller asks too often.
        """
        if self.draining:
            raise Refused(503, "shutting_down", "The server is stopping.",
                          headers={"Connection": "close"})  # fmt: skip
        if self.in_flight >= self._settings.most_in_flight:
            headers = {"Retry-After": "1"}
            raise Refused(503, "overloaded", "Too many requests in flight.", headers=headers)
        wait = self._wait(caller)
        if wait > 0:
            headers = {"Retry-After": str(max(1, round(wait)))}
            raise Refused(429, "rate_limited", "Too many requests a minute.", headers=headers)

    def _wait(self, caller: str) -> float:
        """Seconds until a caller may ask; 0 takes one from its allowance (a token bucket)."""
        rate = self._settings.requests_per_minute
        if rate is None:
            return 0.0
        now = time.monotonic()
        left, since = self._allowances.pop(caller, (rate, now))
        left = min(rate, left + (now - since) * rate / 60)
        wait = 0.0 if left >= 1 else (1 - left) * 60 / rate
        self._allowances[caller] = (left - (wait == 0.0), now)
        if len(self._allowances) > MOST_CALLERS:
            self._allowances.popitem(last=False)
        return wait
