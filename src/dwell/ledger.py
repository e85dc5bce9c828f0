"""The database that remembers every draw, once.

One SQLite file, one writer. Rows are buffered by `put_*` and written by `commit` in one
transaction, so that a draw is on disk before anybody sees it. It knows nothing of strategies,
models or problems: keys are hashes, draws are records.
"""

from __future__ import annotations

import fcntl
import json
import sqlite3
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from dwell.errors import LedgerError
from dwell.protocols import Attempt
from dwell.records import Answer, Draw, Usage

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE source (id INTEGER PRIMARY KEY, fingerprint TEXT UNIQUE NOT NULL, info TEXT);
CREATE TABLE key (
    id INTEGER PRIMARY KEY, hash BLOB UNIQUE NOT NULL, source INTEGER NOT NULL, op TEXT NOT NULL,
    subject TEXT, params TEXT, stream TEXT NOT NULL, context TEXT);
CREATE TABLE draw (
    id INTEGER PRIMARY KEY, key INTEGER NOT NULL, i INTEGER NOT NULL, status TEXT NOT NULL,
    text TEXT, value REAL, state BLOB, prompt_tokens INTEGER, cached_tokens INTEGER,
    output_tokens INTEGER, flops REAL, seconds REAL, usd REAL, UNIQUE (key, i));
CREATE TABLE stat (draw INTEGER NOT NULL, name TEXT NOT NULL, data BLOB,
    PRIMARY KEY (draw, name)) WITHOUT ROWID;
CREATE TABLE attempt (
    id INTEGER PRIMARY KEY, key INTEGER, i INTEGER, outcome TEXT, usage TEXT, estimated INTEGER);
CREATE TABLE run (
    id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, spec TEXT, num_requests INTEGER,
    digest BLOB, status TEXT);
CREATE TABLE event (
    run INTEGER NOT NULL, seq INTEGER NOT NULL, kind TEXT, unit INTEGER, data TEXT,
    PRIMARY KEY (run, seq)) WITHOUT ROWID;
CREATE TABLE answer (
    run INTEGER NOT NULL, problem TEXT NOT NULL, value TEXT, charged TEXT,
    PRIMARY KEY (run, problem)) WITHOUT ROWID;
"""

_DRAW_COLUMNS = (
    "id, i, status, text, value, state, prompt_tokens, cached_tokens, output_tokens, "
    "flops, seconds, usd"
)


class RunState(NamedTuple):
    """What the ledger holds of a run: its row id, progress and status."""

    id: int
    num_requests: int
    digest: bytes
    status: str


class AnswerRow(NamedTuple):
    """One recorded answer: the run's name and spec, the problem, the answer, its charge."""

    run: str
    spec: str
    problem: str
    value: Answer
    charged: Usage


class KeyRow(NamedTuple):
    """One recorded key: row id, its source's fingerprint, parameters, stream, and subject."""

    id: int
    fingerprint: str
    params: list[Any]
    stream: str
    context: Any


class Totals(NamedTuple):
    """What has been newly paid for so far, and how many draws that made."""

    spent: Usage
    draws: int


class Ledger:
    """A ledger file, open for one writer or for any number of readers.

    Args:
        path: the file; ":memory:" for a ledger that is not kept.
        read_only: open an existing file for reading; no lock is taken.

    Raises:
        LedgerError: the file is not a ledger, is damaged, is of a newer version, cannot be
            written, or another process is writing to it.
    """

    def __init__(self, path: str | Path, *, read_only: bool = False) -> None:
        self.path = str(path)
        self._lock: IO[str] | None = None
        if self.path != ":memory:":
            self._prepare_file(Path(path), read_only)
        self._draws: list[tuple[Any, ...]] = []
        self._stats: list[tuple[int, str, bytes]] = []
        self._keys: list[tuple[Any, ...]] = []
        self._attempts: list[tuple[Any, ...]] = []
        self._runs: dict[int, tuple[Any, ...]] = {}
        self._events: list[tuple[Any, ...]] = []
        self._answers: list[tuple[Any, ...]] = []
        self._sources: dict[str, int] = {}
        try:
            self._connect(read_only)
        except BaseException:
            self.close()
            raise

    # ---- opening and closing -------------------------------------------------------------

    def _prepare_file(self, path: Path, read_only: bool) -> None:
        if read_only:
            if not path.exists():
                raise LedgerError(f"A ledger must exist to be read, but there is none at {path}.")
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = open(f"{path}.lock", "w")  # noqa: SIM115 - held until close
        except OSError as error:
            raise LedgerError(
                f"The folder of a ledger must be writable, but {path.parent} is not "
                f"({error.strerror}). Choose another folder with --out."
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise LedgerError(
                f"Only one process may write a ledger, but another one is writing {path}. "
                "Wait for it, stop it, or choose another folder with --out."
            ) from error

    def _connect(self, read_only: bool) -> None:
        """Open the file and find where each table goes on."""
        with self._guard():
            uri = f"{Path(self.path).absolute().as_uri()}?mode=ro" if read_only else self.path
            self._db = sqlite3.connect(
                uri, isolation_level=None, uri=read_only, check_same_thread=False
            )
            self._open_schema(read_only)
            self._next_draw = self._max_id("draw") + 1
            self._next_key = self._max_id("key") + 1
            self._next_run = self._max_id("run") + 1

    def _open_schema(self, read_only: bool) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise LedgerError(
                f"A ledger must be of version {SCHEMA_VERSION} or older, but {self.path} is of "
                f"version {version}. Upgrade dwell to read it."
            )
        if version == 0 and self._db.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise LedgerError(
                f"A ledger must be a database that dwell made, but {self.path} is another one. "
                "Choose another folder with --out."
            )
        if read_only:
            return
        damage = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if damage != "ok":
            raise LedgerError(
                f"A ledger must be intact, but {self.path} is damaged ({damage.splitlines()[-1]})."
                " Move it away, or recover it with: sqlite3 FILE .recover"
            )
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        if version == 0:
            self._db.execute("BEGIN")
            for statement in _SCHEMA.split(";"):
                self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            self._db.execute("COMMIT")

    def _max_id(self, table: str) -> int:
        row = self._db.execute(f"SELECT max(id) FROM {table}").fetchone()
        return int(row[0] or 0)

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Turn database errors into one clear line."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            text = str(error)
            if "full" in text or "disk I/O" in text:
                way_out = "Free some space and run the same command again: nothing is lost."
            elif "locked" in text:
                way_out = "Close what has it open and run the same command again: nothing is lost."
            elif "readonly" in text or "unable to open" in text:
                way_out = "Make it writable, or choose another folder with --out."
            else:
                way_out = "Move it away, or recover it with: sqlite3 FILE .recover"
            raise LedgerError(
                f"A ledger must be a readable, writable database, but {self.path} failed: {text}."
                f" {way_out}"
            ) from error

    def close(self) -> None:
        """Close the file without writing what is buffered."""
        if hasattr(self, "_db"):
            self._db.close()
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- writing -------------------------------------------------------------------------

    def put_source(self, fingerprint: str, info: Mapping[str, Any]) -> int:
        """The row id of a source, added at once if it is new."""
        known = self._sources.get(fingerprint)
        if known is not None:
            return known
        with self._guard():
            self._db.execute(
                "INSERT OR IGNORE INTO source (fingerprint, info) VALUES (?, ?)",
                (fingerprint, json.dumps(dict(info), sort_keys=True)),
            )
            row = self._db.execute(
                "SELECT id FROM source WHERE fingerprint = ?", (fingerprint,)
            ).fetchone()
        self._sources[fingerprint] = row[0]
        return int(row[0])

    def put_key(
        self, hash_: bytes, source: int, op: str, params: Any, stream: str, context: Any
    ) -> int:
        """Buffer a new key; returns its row id. `context` is JSON-able, or None."""
        key, self._next_key = self._next_key, self._next_key + 1
        text = None
        if context is not None:
            text = storable(json.dumps(context, ensure_ascii=False, default=repr))
        self._keys.append((key, hash_, source, op, hash_.hex(), json.dumps(params), stream, text))
        return key

    def put_draw(self, key: int, i: int, draw: Draw) -> None:
        """Buffer draw `i` of a key, with its statistics."""
        row, self._next_draw = self._next_draw, self._next_draw + 1
        self._draws.append(
            (row, key, i, draw.status, draw.text, draw.value, draw.state, draw.prompt_tokens,
             draw.cached_tokens, draw.output_tokens, draw.flops, draw.seconds, draw.usd)
        )  # fmt: skip
        if draw.stats:
            for name, value in draw.stats.items():
                self._stats.append((row, name, pack_stat(value)))

    def put_stats(self, key: int, i: int, stats: Mapping[str, Any]) -> None:
        """Add statistics to a draw that is already recorded."""
        with self._guard():
            row = self._db.execute(
                "SELECT id FROM draw WHERE key = ? AND i = ?", (key, i)
            ).fetchone()
        self._stats.extend((row[0], name, pack_stat(value)) for name, value in stats.items())

    def put_attempt(self, key: int | None, attempt: Attempt) -> None:
        """Buffer a failed or cancelled call."""
        usage = json.dumps({k: v for k, v in attempt.usage.items() if v})
        self._attempts.append((key, attempt.index, attempt.outcome, usage, attempt.estimated))

    def put_run(
        self, run: int | None, name: str, spec: str, num_requests: int, digest: bytes, status: str
    ) -> int:
        """Buffer a run's progress; returns its row id."""
        if run is None:
            run, self._next_run = self._next_run, self._next_run + 1
        self._runs[run] = (run, name, spec, num_requests, digest, status)
        return run

    def put_event(self, run: int, seq: int, kind: str, unit: int) -> None:
        """Buffer one delivery in "finished" order, or one cancellation."""
        self._events.append((run, seq, kind, unit, None))

    def put_answer(self, run: int, problem: str, value: Answer, charged: Usage) -> None:
        """Buffer a run's answer to a problem and what it was charged."""
        usage = json.dumps({k: v for k, v in charged.items() if v})
        self._answers.append((run, problem, value, usage))

    @property
    def num_buffered(self) -> int:
        """How many rows wait for the next commit."""
        return len(self._draws) + len(self._answers) + len(self._runs) + len(self._events)

    def commit(self) -> None:
        """Write everything that is buffered, in one transaction.

        Raises:
            LedgerError: the disk is full or the file is damaged; the file stays as it was.
        """
        many = self._db.executemany
        with self._guard():
            try:
                self._db.execute("BEGIN IMMEDIATE")
                for statement, rows in self._buffered():
                    if rows:
                        many(statement, rows)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        for buffer in (self._keys, self._draws, self._stats, self._attempts, self._events,
                       self._answers):  # fmt: skip
            buffer.clear()
        self._runs.clear()

    def _buffered(self) -> tuple[tuple[str, Collection[tuple[Any, ...]]], ...]:
        """The statements that write what is buffered, each with its rows."""
        return (
            ("INSERT INTO key VALUES (?,?,?,?,?,?,?,?)", self._keys),
            ("INSERT INTO draw VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)", self._draws),
            ("INSERT OR REPLACE INTO stat VALUES (?,?,?)", self._stats),
            (
                "INSERT INTO attempt (key, i, outcome, usage, estimated) VALUES (?,?,?,?,?)",
                self._attempts,
            ),
            ("INSERT OR REPLACE INTO run VALUES (?,?,?,?,?,?)", self._runs.values()),
            ("INSERT OR REPLACE INTO event VALUES (?,?,?,?,?)", self._events),
            ("INSERT OR REPLACE INTO answer VALUES (?,?,?,?)", self._answers),
        )

    # ---- reading -------------------------------------------------------------------------

    def find_key(self, hash_: bytes) -> tuple[int, int] | None:
        """(row id, number of draws) of a recorded key, None if there is none."""
        with self._guard():
            row = self._db.execute("SELECT id FROM key WHERE hash = ?", (hash_,)).fetchone()
            if row is None:
                return None
            count = self._db.execute(
                "SELECT max(i) + 1 FROM draw WHERE key = ?", (row[0],)
            ).fetchone()[0]
        return row[0], count or 0

    def draws(self, key: int, first: int, stop: int, *, stats: bool = True) -> dict[int, Draw]:
        """Recorded draws ``first <= i < stop`` of a key, by index; gaps are left out."""
        with self._guard():
            rows = self._db.execute(
                f"SELECT {_DRAW_COLUMNS} FROM draw WHERE key = ? AND i >= ? AND i < ? ORDER BY i",
                (key, first, stop),
            ).fetchall()
            found = {row[0]: (row[1], _draw(row)) for row in rows}
            if stats and found:
                for draw, name, data in self._db.execute(
                    "SELECT s.draw, s.name, s.data FROM stat s JOIN draw d ON d.id = s.draw "
                    "WHERE d.key = ? AND d.i >= ? AND d.i < ?",
                    (key, first, stop),
                ):
                    record = found[draw][1]
                    if record.stats is None:
                        record.stats = {}
                    record.stats[name] = unpack_stat(data)  # type: ignore[index]
        return dict(found.values())

    def keys(self, op: str) -> Iterator[KeyRow]:
        """The keys of an operation whose subject is kept as text, oldest first."""
        with self._guard():
            for row, fingerprint, params, stream, context in self._db.execute(
                "SELECT k.id, s.fingerprint, k.params, k.stream, k.context FROM key k "
                "JOIN source s ON s.id = k.source WHERE k.op = ? AND k.context IS NOT NULL "
                "ORDER BY k.id",
                (op,),
            ):
                yield KeyRow(row, fingerprint, json.loads(params), stream, json.loads(context))

    def scores(self, fingerprint: str) -> dict[bytes, tuple[float | None, int]]:
        """(score, verifier tokens) of the first draw of every key of a verifier, by key hash.

        All in one pass: a query a score would take longer than reading them all.
        """
        with self._guard():
            rows = self._db.execute(
                "SELECT k.hash, d.value, d.output_tokens FROM draw d JOIN key k ON k.id = d.key "
                "JOIN source s ON s.id = k.source "
                "WHERE s.fingerprint = ? AND k.op = 'verify' AND d.i = 0",
                (fingerprint,),
            ).fetchall()
        return {hash_: (value, tokens) for hash_, value, tokens in rows}

    def sources(self) -> dict[str, dict[str, Any]]:
        """What is known of each source, by fingerprint (which it repeats)."""
        with self._guard():
            rows = self._db.execute("SELECT fingerprint, info FROM source ORDER BY id").fetchall()
        return {name: {**json.loads(info or "{}"), "fingerprint": name} for name, info in rows}

    def run_state(self, name: str) -> RunState | None:
        """What is recorded of a run, None if nothing is."""
        with self._guard():
            row = self._db.execute(
                "SELECT id, num_requests, digest, status FROM run WHERE name = ?", (name,)
            ).fetchone()
        return None if row is None else RunState(*row)

    def finished_runs(self) -> set[str]:
        """Names of the runs that need not be run again."""
        with self._guard():
            rows = self._db.execute(
                "SELECT name FROM run WHERE status IN ('done', 'out_of_budget')"
            ).fetchall()
        return {row[0] for row in rows}

    def failed_runs(self) -> list[tuple[str, str]]:
        """(name, message) of the runs that ended with an error."""
        with self._guard():
            return self._db.execute(
                "SELECT name, substr(status, 9) FROM run WHERE status LIKE 'failed: %'"
            ).fetchall()

    def events(self, run: int) -> list[tuple[str, int]]:
        """(kind, unit) of a run's recorded events, oldest first."""
        with self._guard():
            return self._db.execute(
                "SELECT kind, unit FROM event WHERE run = ? ORDER BY seq", (run,)
            ).fetchall()

    def answers(self) -> Iterable[AnswerRow]:
        """All recorded answers of finished runs."""
        with self._guard():
            for name, spec, problem, value, charged in self._db.execute(
                "SELECT r.name, r.spec, a.problem, a.value, a.charged FROM answer a "
                "JOIN run r ON r.id = a.run ORDER BY a.run"
            ):
                yield AnswerRow(name, spec, problem, value, Usage(**json.loads(charged)))

    def totals(self) -> Totals:
        """What was newly paid for so far: draws, scores and failed attempts."""
        with self._guard():
            rows = self._db.execute(
                "SELECT k.op, count(*), sum(prompt_tokens - cached_tokens), sum(cached_tokens), "
                "sum(output_tokens), sum(flops), sum(usd) FROM draw d JOIN key k ON k.id = d.key "
                "GROUP BY k.op"
            ).fetchall()
            attempts = self._db.execute("SELECT usage FROM attempt").fetchall()
        spent, draws = Usage(), 0
        for op, count, prompt, cached, output, flops, usd in rows:
            if op == "generate":
                draws = count
                spent += Usage(calls=count, prompt_tokens=prompt, cached_tokens=cached,
                               output_tokens=output, flops=flops, usd=usd)  # fmt: skip
            elif op == "verify":
                spent += Usage(verifier_tokens=output, flops=flops, usd=usd)
            else:
                spent += Usage(runs=count, flops=flops, usd=usd)
        for (usage,) in attempts:
            spent += Usage(**json.loads(usage))
        return Totals(spent, draws)


def storable(text: str) -> str:
    """The same text where it is valid Unicode; lone surrogates become question marks."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _draw(row: tuple[Any, ...]) -> Draw:
    (_, _, status, text, value, state, prompt, cached, output, flops, seconds, usd) = row
    return Draw(
        status=status, text=text, value=value, state=state, prompt_tokens=prompt,
        cached_tokens=cached, output_tokens=output, flops=flops, seconds=seconds, usd=usd,
    )  # fmt: skip


def pack_stat(value: Any) -> bytes:
    """A statistic as bytes: a float, a text, or an array of float32 of one or two axes."""
    if isinstance(value, int | float):
        return b"f" + struct.pack("<d", value)
    if isinstance(value, str):
        return b"s" + value.encode()
    array = np.ascontiguousarray(value, dtype="<f4")
    return (
        b"a"
        + struct.pack("<B", array.ndim)
        + struct.pack(f"<{array.ndim}I", *array.shape)
        + array.tobytes()
    )


def unpack_stat(data: bytes) -> Any:
    """The inverse of `pack_stat`."""
    kind, body = data[:1], data[1:]
    if kind == b"f":
        return struct.unpack("<d", body)[0]
    if kind == b"s":
        return body.decode()
    ndim = body[0]
    shape = struct.unpack_from(f"<{ndim}I", body, 1)
    return np.frombuffer(body, dtype="<f4", offset=1 + 4 * ndim).reshape(shape)
