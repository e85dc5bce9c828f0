"""The ledger: its schema, what it keeps and gives back, and what it refuses in one line."""

import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from dwell.errors import LedgerError, UsageError
from dwell.ledger import SCHEMA_VERSION, Ledger, pack_stat, unpack_stat
from dwell.protocols import Attempt
from dwell.records import Draw, Usage

TABLES = {
    "source": ["id", "fingerprint", "info"],
    "key": ["id", "hash", "source", "op", "subject", "params", "stream", "context"],
    "draw": ["id", "key", "i", "status", "text", "value", "state", "prompt_tokens",
             "cached_tokens", "output_tokens", "flops", "seconds", "usd"],
    "stat": ["draw", "name", "data"],
    "attempt": ["id", "key", "i", "outcome", "usage", "estimated"],
    "run": ["id", "name", "spec", "num_requests", "digest", "status"],
    "event": ["run", "seq", "kind", "unit", "data"],
    "answer": ["run", "problem", "value", "charged"],
}  # fmt: skip


def filled(path, count=200):
    """A ledger with some of everything, closed."""
    with Ledger(path) as ledger:
        source = ledger.put_source("model", {"name": "model"})
        key = ledger.put_key(b"k" * 16, source, "generate", ["end"], "s", ["Q"])
        for i in range(count):
            ledger.put_draw(key, i, Draw(text=f"draw {i} " + "x" * 100, output_tokens=2))
        run = ledger.put_run(None, "r", "spec", 1, b"d" * 16, "done")
        ledger.put_answer(run, "p", "7", Usage(calls=2.0))
        ledger.commit()
    return path


def test_the_schema_is_the_contract_s(tmp_path):
    with Ledger(tmp_path / "ledger.db") as ledger:
        names = [
            row[0]
            for row in ledger._db.execute("SELECT name FROM sqlite_master WHERE type='table'")
        ]
        assert set(names) == set(TABLES)
        for name, columns in TABLES.items():
            found = [row[1] for row in ledger._db.execute(f"PRAGMA table_info({name})")]
            assert found == columns
        pragmas = [ledger._db.execute(f"PRAGMA {p}").fetchone()[0]
                   for p in ("user_version", "journal_mode", "synchronous")]  # fmt: skip
        assert pragmas == [SCHEMA_VERSION, "wal", 1]


def test_draws_and_keys_are_unique(tmp_path):
    with Ledger(tmp_path / "ledger.db") as ledger:
        for _ in range(2):
            ledger.put_draw(1, 0, Draw())
        with pytest.raises(LedgerError, match="UNIQUE"):
            ledger.commit()


def test_a_draw_comes_back_as_it_was_put():
    stats = {"surprisal": np.array([0.5, 2.0], dtype=np.float32), "x": 1.5, "note": "n"}
    draw = Draw(
        status="cap", text="täxt\n\0 \U0001f600", value=-0.1, state=b"\0\xff", prompt_tokens=3,
        cached_tokens=1, output_tokens=9, flops=1e15, seconds=0.1, usd=1e-9, stats=stats,
    )  # fmt: skip
    with Ledger(":memory:") as ledger:
        key = ledger.put_key(b"k", ledger.put_source("s", {}), "generate", [], "s", None)
        ledger.put_draw(key, 5, draw)
        ledger.commit()
        assert ledger.find_key(b"k") == (key, 6)
        assert ledger.find_key(b"other") is None
        found = ledger.draws(key, 0, 9)
    assert list(found) == [5]
    stats, expected = dict(found[5].stats), dict(draw.stats)
    assert np.array_equal(stats.pop("surprisal"), expected.pop("surprisal"))
    assert stats == expected
    found[5].stats = draw.stats = None
    assert found[5] == draw


@pytest.mark.parametrize("value", [0.25, 3, "text", [1.0, 2.0], [[1.0, 2.0], [3.0, 4.0]], []])
def test_statistics_are_packed_and_unpacked(value):
    found = unpack_stat(pack_stat(value))
    assert np.array_equal(found, value) if isinstance(value, list) else found == value


def test_nothing_is_seen_before_its_commit(tmp_path):
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger, Ledger(path, read_only=True) as reader:
        key = ledger.put_key(b"k", 1, "generate", [], "s", None)
        ledger.put_draw(key, 0, Draw(text="x"))
        assert ledger.num_buffered
        assert reader.find_key(b"k") is None
        ledger.commit()
        assert not ledger.num_buffered
        assert reader.draws(key, 0, 1)[0].text == "x"


def test_statistics_can_be_added_to_a_recorded_draw():
    with Ledger(":memory:") as ledger:
        key = ledger.put_key(b"k", 1, "generate", [], "s", None)
        ledger.put_draw(key, 0, Draw())
        ledger.commit()
        ledger.put_stats(key, 0, {"surprisal": 1.5})
        ledger.commit()
        assert ledger.draws(key, 0, 1)[0].stats == {"surprisal": 1.5}
        assert ledger.draws(key, 0, 1, stats=False)[0].stats is None


def test_runs_answers_events_and_attempts_come_back(tmp_path):
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        run = ledger.put_run(None, "r", "spec", 2, b"d", "running")
        for seq, unit in enumerate([3, 1, 2]):
            ledger.put_event(run, seq, "deliver", unit)
        ledger.commit()
    with Ledger(path) as ledger:
        state = ledger.run_state("r")
        assert (state.id, state.num_requests, state.digest, state.status) == (
            run,
            2,
            b"d",
            "running",
        )
        assert ledger.events(run) == [("deliver", 3), ("deliver", 1), ("deliver", 2)]
        ledger.put_run(run, "r", "spec", 4, b"e", "out_of_budget")
        ledger.put_answer(run, "p", None, Usage(calls=1.0, usd=0.5))
        ledger.put_run(None, "bad", "spec", 1, b"", "failed: GeneratorError: down")
        ledger.put_attempt(None, Attempt(outcome="timeout", usage=Usage(usd=0.25)))
        ledger.commit()
        assert ledger.finished_runs() == {"r"}
        assert ledger.failed_runs() == [("bad", "GeneratorError: down")]
        assert list(ledger.answers()) == [("r", "spec", "p", None, Usage(calls=1.0, usd=0.5))]
        assert ledger.totals().spent.usd == 0.25


def test_sources_are_described_once():
    with Ledger(":memory:") as ledger:
        assert ledger.put_source("a", {"size": 1}) == ledger.put_source("a", {"size": 2})
        ledger.put_source("b", {})
        assert ledger.sources() == {
            "a": {"size": 1, "fingerprint": "a"}, "b": {"fingerprint": "b"}
        }  # fmt: skip


def test_readers_need_no_lock_and_write_nothing(tmp_path):
    path = filled(tmp_path / "a ?#%.db")
    with Ledger(path), Ledger(path, read_only=True) as reader:
        assert len(reader.draws(1, 0, 999)) == 200
        reader.put_draw(1, 999, Draw())
        with pytest.raises(LedgerError, match="readonly"):
            reader.commit()


# ---- what is refused, each in one line -------------------------------------------------------


def refused(path, **options):
    """The one line that says why a file cannot be opened."""
    with pytest.raises(LedgerError) as caught:
        Ledger(path, **options)
    assert isinstance(caught.value, UsageError)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message or str(path.parent) in message
    return message


def test_a_ledger_from_a_newer_version_is_refused(tmp_path):
    path = filled(tmp_path / "ledger.db")
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=9")
    db.close()
    assert "version 9" in refused(path)
    assert "version 9" in refused(path, read_only=True)


def test_a_garbled_header_is_refused(tmp_path):
    path = filled(tmp_path / "ledger.db")
    with path.open("r+b") as file:
        file.write(os.urandom(100))
    before = path.read_bytes()
    assert "not a database" in refused(path)
    assert "not a database" in refused(path, read_only=True)
    assert path.read_bytes() == before


def test_damage_in_the_middle_is_refused(tmp_path):
    path = filled(tmp_path / "ledger.db")
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2 // 4096 * 4096)
        file.write(b"\xa5" * 4096)
    assert "damaged" in refused(path)
    assert "sqlite3" in refused(path)


def test_damage_met_while_reading_is_one_line(tmp_path):
    path = filled(tmp_path / "ledger.db")
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(8 * 4096)
        file.write(b"\xa5" * (size - 8 * 4096))
    with pytest.raises(LedgerError, match="malformed"), Ledger(path, read_only=True) as ledger:
        ledger.draws(1, 0, 200)


def test_another_program_s_database_is_refused(tmp_path):
    path = tmp_path / "ledger.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE diary (day TEXT)")
    db.close()
    assert "another one" in refused(path)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    message = refused(tmp_path / "file" / "ledger.db")
    assert "must be writable" in message
    assert "--out" in message


def test_a_missing_ledger_cannot_be_read(tmp_path):
    assert "there is none" in refused(tmp_path / "ledger.db", read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_ledger_s_place_is_refused(tmp_path):
    (tmp_path / "ledger.db").mkdir()
    refused(tmp_path / "ledger.db")


def test_a_second_writer_is_told_in_one_line(tmp_path):
    path = tmp_path / "ledger.db"
    code = f"from dwell.ledger import Ledger; Ledger({str(path)!r})"
    with Ledger(path):
        other = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert "another one is writing" in other.stderr.splitlines()[-1]
        assert "another one is writing" in refused(path)
    Ledger(path).close()


def test_a_killed_writer_leaves_no_lock(tmp_path):
    path = tmp_path / "ledger.db"
    code = (
        f"from dwell.ledger import Ledger; import os, signal; a = Ledger({str(path)!r}); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    other = subprocess.run([sys.executable, "-c", code], check=False)
    assert other.returncode == -signal.SIGKILL
    Ledger(path).close()


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path):
    path = filled(tmp_path / "ledger.db")
    with Ledger(path) as ledger:
        pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
        ledger._db.execute(f"PRAGMA max_page_count={pages + 2}")
        for i in range(200, 900):
            ledger.put_draw(1, i, Draw(text="y" * 500))
        with pytest.raises(LedgerError, match="full.*Free some space.*nothing is lost"):
            ledger.commit()
        assert len(ledger.draws(1, 0, 2000)) == 200
        ledger._db.execute("PRAGMA max_page_count=100000")
        ledger.commit()
        assert len(ledger.draws(1, 0, 2000)) == 900
    with Ledger(path) as ledger:
        assert len(ledger.draws(1, 0, 2000)) == 900


def test_a_ledger_that_another_program_holds_is_one_line(tmp_path):
    path = filled(tmp_path / "ledger.db")
    with Ledger(path) as ledger:
        ledger._db.execute("PRAGMA busy_timeout=10")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        ledger.put_draw(1, 900, Draw())
        with pytest.raises(LedgerError, match="locked.*Close what has it open"):
            ledger.commit()
        other.close()
        ledger.commit()
        assert 900 in ledger.draws(1, 900, 901)


def test_a_file_that_may_not_grow_is_left_intact(tmp_path):
    path = filled(tmp_path / "ledger.db")

    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    code = (
        "import sys; from dwell.ledger import Ledger; from dwell.errors import LedgerError\n"
        "from dwell.records import Draw\n"
        f"with Ledger({str(path)!r}) as ledger:\n"
        "    for i in range(200, 4000): ledger.put_draw(1, i, Draw(text='y' * 500))\n"
        "    try: ledger.commit()\n"
        "    except LedgerError as error: sys.exit(str(error))\n"
    )
    other = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        preexec_fn=small_files,
        check=False,
    )
    assert other.returncode == 1
    assert "Free some space" in other.stderr
    assert len(other.stderr.strip().splitlines()) == 1
    with Ledger(path) as ledger:
        assert len(ledger.draws(1, 0, 5000)) == 200


def test_a_commit_that_breaks_off_leaves_the_file_as_it_was(tmp_path):
    with Ledger(tmp_path / "ledger.db") as ledger:
        ledger.put_draw(1, 0, Draw(text="fine"))
        ledger.put_draw(1, 1, Draw(text=object()))
        with pytest.raises((LedgerError, sqlite3.Error)):
            ledger.commit()
        assert ledger.draws(1, 0, 9) == {}
        assert not ledger._db.in_transaction


def test_a_ledger_and_its_wal_can_be_moved(tmp_path):
    path = tmp_path / "ledger.db"
    ledger = Ledger(path)
    key = ledger.put_key(b"k", 1, "generate", [], "s", None)
    ledger.put_draw(key, 0, Draw(text="x"))
    ledger.commit()
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in os.listdir(tmp_path):
        if name.startswith("ledger.db"):
            shutil.copy(tmp_path / name, copy / name)
    ledger.close()
    with Ledger(copy / "ledger.db") as ledger:
        assert ledger.draws(key, 0, 1)[0].text == "x"


def test_usage_is_json_that_anybody_can_read(tmp_path):
    path = filled(tmp_path / "ledger.db")
    with sqlite3.connect(path) as db:
        assert json.loads(db.execute("SELECT charged FROM answer").fetchone()[0]) == {"calls": 2.0}
    db.close()
