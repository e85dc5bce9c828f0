"""The connections to one server: one pool, opened inside the running loop.

The key is read from the environment when the pool is opened, is kept in its headers alone, and
is cut out of every text that leaves this module. The web client is loaded here and nowhere else
on the way to a generator, and only when the first call is made: it takes longer to load than all
the rest.
"""

from __future__ import annotations

import asyncio
import os
import time

import aiohttp

from dwell.errors import UsageError
from dwell.generators.endpoint_calls import Failure, failure_of_status
from dwell.generators.endpoint_choices import MalformedBody

MAX_BODY_BYTES = 64 * 2**20
_ENCODED = "Content-Encoding"  # such a body may grow beyond its promised length


class Connections:
    """A pool of connections to one server, for the loop that it is made in.

    Args:
        base_url: checked base address.
        api_key_env: name of the environment variable with the key; unset = no key is sent.
        most: connections at once.

    Attributes:
        loop: the loop that they belong to.
        session: the pool.

    Raises:
        UsageError: the key in the environment cannot be sent in a header.
    """

    def __init__(self, base_url: str, *, api_key_env: str, most: int) -> None:
        self.loop = asyncio.get_running_loop()
        self._base_url = base_url
        headers = {"Content-Type": "application/json"}
        key = os.environ.get(api_key_env, "").strip()
        if not key.isprintable() or not key.isascii():
            raise UsageError(
                f"a key must be printable ASCII, but the one in {api_key_env} is not."
            )
        if key:
            headers["Authorization"] = f"Bearer {key}"
        # One address is the rule: racing several for each connection costs a third of a call.
        connector = aiohttp.TCPConnector(limit=most, happy_eyeballs_delay=None)
        self.session = aiohttp.ClientSession(
            connector=connector, headers=headers, cookie_jar=aiohttp.DummyCookieJar()
        )
        self._timeout = aiohttp.ClientTimeout()

    async def exchange(self, path: str, data: bytes, seconds: float) -> bytes | Failure:
        """One call and its reply: the body of a good one, or what went wrong.

        Args:
            path: what follows the base address.
            data: the JSON to post.
            seconds: the limit of it all.
        """
        started = time.monotonic()
        if self._timeout.total != seconds:
            self._timeout = aiohttp.ClientTimeout(total=seconds)
        try:
            # Redirects are refused: the key and the prompt go to the named server alone.
            async with self.session.post(
                self._base_url + path, data=data, timeout=self._timeout, allow_redirects=False
            ) as response:
                raw = await _read_bounded(response)
                if response.status == 200:
                    return raw
                return failure_of_status(response.status, response.headers, raw)
        except MalformedBody as error:
            return Failure(reason=f"malformed body: {error}", billed=True)
        except TimeoutError:
            passed = time.monotonic() - started
            return Failure(reason=f"no reply within {passed:.3g} s", billed=True)
        except aiohttp.ClientConnectorError as error:
            reason = f"no connection: {error.strerror or type(error).__name__}"
            return Failure(reason=reason, reached=False)
        except (aiohttp.ClientError, OSError) as error:
            return Failure(reason=f"connection lost: {type(error).__name__}", billed=True)

    def redacted(self, text: str) -> str:
        """The text in one line, short, and without the key."""
        key = self.session.headers.get("Authorization", "").removeprefix("Bearer ")
        if key:
            text = text.replace(key, "[key]")
        return " ".join(text.split())[:300]

    async def close(self) -> None:
        """Close them all."""
        await self.session.close()


async def _read_bounded(response: aiohttp.ClientResponse) -> bytes:
    promised = response.content_length
    if promised is not None and promised <= MAX_BODY_BYTES and not response.headers.get(_ENCODED):
        return await response.read()
    chunks = bytearray()
    async for chunk in response.content.iter_any():
        chunks += chunk
        if len(chunks) > MAX_BODY_BYTES:
            raise MalformedBody(f"the body is longer than {MAX_BODY_BYTES} bytes")
    return bytes(chunks)
