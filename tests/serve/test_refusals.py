"""Hostile and mistaken requests: the right status, and nobody else is disturbed."""

import asyncio
import json
import time
from urllib.parse import urlsplit

import openai
import pytest
from serve_world import (
    HELLO,
    SCRIPT,
    ask,
    chat,
    post,
    scripted_upstream,
    serving,
    settings,
    slow,
)

from dwell.errors import UsageError
from dwell.generators.fake_server import FakeServer
from dwell.serve import Server
from dwell.serve.settings import client_keys, key_digest
from dwell.serve.upstream import Upstream

GOOD = {"model": "m", "messages": HELLO}


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"model": "other"}, 404, "model_not_found"),
        ({"messages": []}, 400, "invalid_messages"),
        ({"messages": "hi"}, 400, "invalid_messages"),
        ({"messages": [{"content": "hi"}]}, 400, "invalid_messages"),
        ({"n": 0}, 400, "invalid_n"),
        ({"n": 10**6}, 400, "invalid_n"),
        ({"n": True}, 400, "invalid_n"),
        ({"seed": 1.5}, 400, "invalid_seed"),
        ({"max_tokens": -1}, 400, "invalid_max_tokens"),
        ({"temperature": "hot"}, 400, "invalid_temperature"),
        ({"seed": 2**70}, 400, "invalid_seed"),
        ({"stop": 5}, 400, "invalid_stop"),
        ({"stop": ["a", 5]}, 400, "invalid_stop"),
        ({"stream": "false"}, 400, "invalid_stream"),
        ({"messages": [{"role": "user", "content": 5}]}, 400, "invalid_messages"),
        ({"dwell": {"abstain": "maybe"}}, 400, "invalid_abstain"),
        ({"dwell": {"samples": 0.5}}, 400, "invalid_samples"),
        ({"dwell": {"colour": "red"}}, 400, "invalid_dwell"),
        ({"dwell": "fast"}, 400, "invalid_dwell"),
        ({"dwell": {"ms": -5}}, 400, "invalid_ms"),
        ({"dwell": {"ms": 10**400}}, 400, "invalid_ms"),
        ({"dwell": {"samples": "many"}}, 400, "invalid_samples"),
        ({"dwell": {"samples": []}}, 400, "invalid_samples"),
        ({"dwell": {"strategy": "majorty"}}, 400, "invalid_strategy"),
        ({"dwell": {"strategy": "majority:n=1000000000"}}, 400, "invalid_strategy"),
        ({"dwell": {"strategy": "plan:/etc/passwd"}}, 400, "invalid_strategy"),
        ({"dwell": {"strategy": "plan(file=/etc/passwd)"}}, 400, "invalid_strategy"),
        ({"dwell": {"strategy": "best_of_n:verifier=exact"}}, 400, "invalid_strategy"),
        ({"dwell": {"strategy": "best_of_n:verifier=process"}}, 400, "invalid_strategy"),
        ({"dwell": {"strategy": "beam:n=4"}}, 400, "invalid_strategy"),
        ({"dwell": {"strategy": "pool_vote:n=4"}}, 400, "invalid_strategy"),
    ],
)
async def test_what_cannot_be_served_is_refused_by_name(change, status, code):
    async with serving() as (server, upstream, _):
        found, body = await post(server, body={**GOOD, **change})
    assert (found, body["error"]["code"]) == (status, code)
    assert not upstream.counts.requests


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"\xff\xfe", b"NaN", b"[" * 100_000, b'{"n": ' + b"9" * 5000 + b"}"]
)
async def test_what_is_no_json_object_is_refused(data):
    async with serving() as (server, _, client):
        status, body = await post(server, data=data)
        assert (status, body["error"]["code"]) == (400, "invalid_json")
        assert (await ask(client)).choices


async def test_a_request_that_is_too_large_is_refused():
    async with serving(most_body_bytes=2000) as (server, _, client):
        status, body = await post(server, data=b"x" * 3000)
        assert (status, body["error"]["code"]) == (413, "too_large")
        assert (await ask(client)).choices


async def test_only_known_keys_are_served(monkeypatch):
    monkeypatch.setenv("CLIENT_KEYS", "alpha, beta")
    keys = client_keys("CLIENT_KEYS", "0.0.0.0", open_to_all=False)
    async with serving(key_digests=keys) as (server, upstream, _):
        headers = {"Authorization": "Bearer beta"}
        assert (await post(server, body=GOOD, headers=headers))[0] == 200
        for wrong in ({}, {"Authorization": "Bearer gamma"}, {"Authorization": "Basic beta"}):
            status, body = await post(server, body=GOOD, headers=wrong)
            assert (status, body["error"]["code"]) == (401, "invalid_api_key")
    assert upstream.counts.requests == 1


def test_a_reachable_server_asks_for_keys(monkeypatch):
    with pytest.raises(UsageError, match="--client-keys-env"):
        client_keys(None, "0.0.0.0", open_to_all=False)
    monkeypatch.delenv("NO_KEYS", raising=False)
    with pytest.raises(UsageError, match="NO_KEYS holds none"):
        client_keys("NO_KEYS", "127.0.0.1", open_to_all=False)
    assert not client_keys(None, "127.0.0.1", open_to_all=False)
    assert "alpha" not in repr(settings(key_digests=frozenset({key_digest("alpha")})))


async def test_the_upstream_key_never_leaves(monkeypatch, caplog, tmp_path):
    monkeypatch.setenv("UP_KEY", "sk-very-secret")
    own = settings("majority:n=2")
    async with FakeServer(SCRIPT, key="another") as upstream:  # it repeats the key that it got
        source = Upstream(own, upstream.base_url, api_key_env="UP_KEY", backoff_seconds=0.01)
        async with Server(own, source) as server:
            status, body = await post(server, body=GOOD)
            streamed = await post(server, body={**GOOD, "stream": True})
    assert status == streamed[0] == 502
    assert "[key]" in json.dumps(body)
    assert "very-secret" not in json.dumps([body, streamed[1]]) + caplog.text + repr(source)


async def test_clients_cannot_name_an_upstream():
    async with serving() as (server, upstream, _):
        body = {**GOOD, "base_url": "http://evil.example/v1", "api_base": "http://evil.example"}
        assert (await post(server, body=body))[0] == 200
    assert upstream.counts.requests == 1


async def test_a_fixed_strategy_cannot_be_changed():
    async with serving(client_strategies=False) as (server, _, _):
        status, _ = await post(server, body={**GOOD, "dwell": {"strategy": "majority:n=64"}})
    assert status == 403


async def test_a_caller_who_asks_too_often_is_told_when_to_come_back():
    async with serving(requests_per_minute=2) as (server, _, client):
        await ask(client)
        await ask(client)
        with pytest.raises(openai.RateLimitError) as caught:
            await ask(client)
    assert 1 <= int(caught.value.response.headers["Retry-After"]) <= 30


async def test_a_full_server_refuses_one_more():
    async with serving("sample", slow(0.5), most_in_flight=2) as (server, _, client):
        waiting = [asyncio.ensure_future(ask(client)) for _ in range(2)]
        await asyncio.sleep(0.25)
        status, body = await post(server, body=GOOD)
        assert (status, body["error"]["code"]) == (503, "overloaded")
        assert all(reply.choices for reply in await asyncio.gather(*waiting))


async def _connect(server):
    parts = urlsplit(server.url)
    return await asyncio.open_connection(parts.hostname, parts.port)


async def test_slow_headers_end_in_a_closed_connection():
    async with serving(read_seconds=0.3) as (server, _, client):
        reader, writer = await _connect(server)
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n")
        begun = time.monotonic()
        reply = asyncio.ensure_future(ask(client))
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 5)
        assert time.monotonic() - begun < 3
        assert (await reply).choices
        writer.close()


async def test_a_slow_body_is_refused():
    async with serving(read_seconds=0.3) as (server, _, client):
        reader, writer = await _connect(server)
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{"
        writer.write(head)
        line = await asyncio.wait_for(reader.readline(), 5)
        assert b"408" in line
        assert (await ask(client)).choices
        writer.close()


async def test_an_unknown_path_is_an_error_in_the_protocols_form():
    async with serving() as (server, _, _):
        status, body = await post(server, "/nothing", body={})
    assert (status, body["error"]["type"]) == (404, "invalid_request_error")
    assert "/nothing" in body["error"]["message"]


@pytest.mark.parametrize(
    "change",
    [
        {"max_completion_tokens": None, "max_tokens": None, "n": None, "seed": None},
        {"temperature": None, "stop": None, "stream": None, "dwell": None},
        {"stop": ["x", "y"], "max_completion_tokens": 50},
        {"user": "someone", "service_tier": "auto", "logit_bias": {"1": 5}, "frobnicate": [1]},
        {"seed": -5, "dwell": {"strategy": "majority:n=2", "ms": 5000}},
    ],
)
async def test_what_the_protocol_allows_is_served(change):
    async with serving() as (server, _, _):
        status, body = await post(server, body={**GOOD, **change})
    assert status == 200
    assert body["choices"][0]["message"]["content"]


async def test_an_upstream_that_does_not_stream_is_named():
    async def whole(request, body):
        return chat({"content": "whole"})

    async with scripted_upstream(whole) as (server, _, _):
        status, body = await post(server, body={**GOOD, "stream": True})
    assert (status, body["error"]["message"]) == (502, "upstream: it does not stream")
