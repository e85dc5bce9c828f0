"""How the scripted server sends: errors, replies that are spoilt, and streams of events."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web


def error(status: int, message: str) -> web.Response:
    """A reply in the protocol's form of an error."""
    return web.json_response({"error": {"message": message, "type": "fake"}}, status=status)


def reset(request: web.Request) -> web.Response:
    """Drops the connection without a reply, by a TCP reset."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def spoilt(
    request: web.Request, fault: str, reply: Mapping[str, Any], pause: float
) -> web.StreamResponse:
    """A reply of status 200 whose body is not what it should be."""
    text = json.dumps(reply).encode()
    if fault == "malformed":
        return web.Response(body=b"<html>upstream error</html>", content_type="text/html")
    if fault == "empty":
        return web.json_response({**reply, "choices": []})
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.content_length = len(text)
    await response.prepare(request)
    if fault == "drip":
        await _drip(response, text, pause)
        return response
    await response.write(text[: len(text) // 2])  # "truncated": half the body, then the end
    _hang_up(request)
    return response


async def stream(
    request: web.Request,
    timed: Sequence[tuple[float, Mapping[str, Any]]],
    *,
    fault: str,
    pause: float,
) -> web.StreamResponse:
    """Server-sent events, each at its second.

    Args:
        request: what is answered.
        timed: the events with their seconds, in the order of time.
        fault: "truncated" ends the connection in the midst of the middle event; "drip" sends
            byte by byte; "malformed" sends an event that is no JSON; "empty" sends the end alone.
        pause: seconds between the bytes of a "drip".

    Raises:
        ConnectionResetError: the reader went away.
    """
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    began, half = time.monotonic(), len(timed) // 2
    for number, (second, event) in enumerate(() if fault == "empty" else timed):
        wait = began + second - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        data = f"data: {json.dumps(event)}\n\n".encode()
        if fault == "truncated" and number == half:
            await response.write(data[: len(data) // 2])
            _hang_up(request)
            return response
        if fault == "malformed" and number == half:
            data = b"data: {not json\n\n"
        if fault == "drip":
            await _drip(response, data, pause)
        else:
            await response.write(data)
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response


async def _drip(response: web.StreamResponse, data: bytes, pause: float) -> None:
    for k in range(len(data)):
        await response.write(data[k : k + 1])
        await asyncio.sleep(pause)


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()
