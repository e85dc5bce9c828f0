"""What a server remembers, what it does not, and what its counts say."""

import asyncio
import json
import sqlite3

import aiohttp
import pytest
from serve_world import HELLO, ask, judges, post, serving, settings, slow

from dwell.errors import UsageError
from dwell.generators.fake_server import FakeServer
from dwell.generators.scripted import Scripted
from dwell.recordings import read_recordings
from dwell.serve import Server
from dwell.serve.journal import Journal
from dwell.serve.upstream import Upstream

GOOD = {"model": "m", "messages": HELLO}


def rows(folder, query):
    with sqlite3.connect(folder / "ledger.db") as db:
        return db.execute(query).fetchall()


async def test_every_draw_is_recorded_and_no_text(tmp_path):
    async with serving("majority:n=6", journal=Journal(tmp_path)) as (_, _, client):
        reply = await ask(client)
        await ask(client)
    assert rows(tmp_path, "SELECT count(*), sum(output_tokens) FROM draw") == [(12, 48)]
    assert rows(tmp_path, "SELECT count(*) FROM run WHERE status = 'done'") == [(2,)]
    assert rows(tmp_path, f"SELECT count(*) FROM run WHERE name = '{reply.id}'") == [(1,)]
    everything = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"what is it" not in everything
    assert b"thought" not in everything


async def test_texts_are_recorded_where_asked_for(tmp_path):
    async with serving("majority:n=2", journal=Journal(tmp_path, record=True)) as parts:
        await ask(parts[2])
    ((context,),) = rows(tmp_path, "SELECT context FROM key")
    assert json.loads(context)["messages"] == HELLO
    assert rows(tmp_path, "SELECT text FROM draw WHERE i = 0") == [("thought 0\nAnswer: 7",)]
    assert rows(tmp_path, "SELECT value FROM answer") == [("7",)]


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ({"correct": True}, [True, True, False]),
        ({"correct": False}, [False, False]),
        ({"answer": " 8.0 "}, [False, False, True]),
        ({"answer": r"It is \boxed{8}"}, [False, False, True]),
    ],
)
async def test_feedback_labels_draws_for_planning(tmp_path, label, expected):
    async with serving("majority:n=3", journal=Journal(tmp_path)) as (server, _, client):
        reply = await ask(client)
        body = {"id": reply.id, **label}
        status, said = await post(server, "/dwell/feedback", body=body)
        assert (status, said["labelled_draws"]) == (200, len(expected))
        assert (await post(server, "/dwell/feedback", body=body))[0] == 404
    lines = [json.loads(line) for line in (tmp_path / "labelled.jsonl").read_text().splitlines()]
    assert [line["correct"] for line in lines] == expected
    (recording,) = read_recordings(tmp_path / "labelled.jsonl").recordings
    assert recording.sizes.tolist() == [len(expected)]


async def test_a_right_answer_in_json_keeps_its_letters(tmp_path):
    replies = Scripted.from_function(
        lambda _, i, __: ('{"a": "X"}', '{"a": "x"}')[i % 2], name="j"
    )
    asked = {"response_format": {"type": "json_object"}}
    async with serving("majority:n=2", replies, journal=Journal(tmp_path)) as (server, _, client):
        reply = await ask(client, **asked)
        body = {"id": reply.id, "answer": '{ "a": "X" }'}
        assert (await post(server, "/dwell/feedback", body=body))[0] == 200
    lines = [json.loads(line) for line in (tmp_path / "labelled.jsonl").read_text().splitlines()]
    assert [line["correct"] for line in lines] == [True, False]


async def test_bad_feedback_is_refused(tmp_path):
    async with serving(journal=Journal(tmp_path)) as (server, _, _):
        for body in ({}, [], {"id": "x"}, {"id": 3, "correct": True}, {"id": "x", "correct": 1}):
            assert (await post(server, "/dwell/feedback", body=body))[0] == 400
    async with serving() as (server, _, _):
        assert (await post(server, "/dwell/feedback", body={}))[0] == 409


async def test_a_deadline_is_accounted_for(tmp_path):
    script = slow(1.0, sigma=2.0)  # the fourth of eight draws takes 1.6 s, the others 0.5 s
    async with serving("majority:n=8", script, journal=Journal(tmp_path)) as (_, _, client):
        reply = await ask(client, dwell={"ms": 1000})
    draws, attempts = reply.dwell["draws"], 8 - reply.dwell["draws"]
    assert rows(tmp_path, "SELECT count(*) FROM draw") == [(draws,)]
    assert rows(tmp_path, "SELECT outcome, count(*) FROM attempt") == [("deadline", attempts)]


async def test_stopping_waits_for_what_is_in_flight_and_takes_no_more(tmp_path):
    own = settings("majority:n=2", grace_seconds=5)
    async with FakeServer(slow(0.4)) as upstream:
        server = Server(own, Upstream(own, upstream.base_url), journal=Journal(tmp_path))
        await server.start()
        async with aiohttp.ClientSession() as session:
            url = server.url + "/chat/completions"
            waiting = asyncio.ensure_future(session.post(url, json=GOOD))
            await asyncio.sleep(0.2)
            await server.stop()
            assert (await waiting).status == 200
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.post(url, json=GOOD)
    assert rows(tmp_path, "SELECT status FROM run") == [("done",)]


async def test_stopping_cancels_what_takes_too_long_and_accounts_for_it(tmp_path):
    own = settings("majority:n=2", grace_seconds=0.1)
    async with FakeServer(slow(60.0)) as upstream:
        server = Server(own, Upstream(own, upstream.base_url), journal=Journal(tmp_path))
        await server.start()
        async with aiohttp.ClientSession() as session:
            url = server.url + "/chat/completions"
            waiting = asyncio.ensure_future(session.post(url, json=GOOD))
            await asyncio.sleep(0.2)
            await asyncio.wait_for(server.stop(), 5)
            await asyncio.gather(waiting, return_exceptions=True)
    assert rows(tmp_path, "SELECT status FROM run") == [("cancelled",)]
    assert rows(tmp_path, "SELECT outcome FROM attempt") == [("cancelled",)]


async def test_counts_are_exact_in_prometheus_form():
    async with serving("majority:n=3") as (server, upstream, client):
        for _ in range(4):
            await ask(client)
        base = server.url.removesuffix("/v1")
        async with aiohttp.ClientSession() as session:
            text = await (await session.get(f"{base}/metrics")).text()
            health = await (await session.get(f"{base}/health")).json()
    lines = text.splitlines()
    assert 'dwell_requests_total{path="/v1/chat/completions",status="200"} 4' in lines
    assert 'dwell_spent_total{kind="calls"} 12' in lines
    tokens = upstream.counts.output_tokens
    assert f'dwell_spent_total{{kind="output_tokens"}} {tokens}' in lines
    assert 'dwell_run_seconds_bucket{le="+Inf"} 4' in lines
    assert "dwell_in_flight 0" in lines
    assert health == {"status": "ok"}


async def test_a_taken_port_is_said_so():

    async with serving() as (server, upstream, _):
        own = settings()
        other = Server(own, Upstream(own, upstream.base_url), port=server._port)
        with pytest.raises(UsageError, match="another --port"):
            await other.start()


def test_servers_that_cannot_run_their_strategy_do_not_start():

    own = settings("beam:n=4")
    with pytest.raises(UsageError, match="beam needs"):
        Server(own, Upstream(own, "http://127.0.0.1:1/v1"), judges=judges())
