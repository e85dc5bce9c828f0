"""Several decoding engines in worker processes, behind the calls of one.

Two processes with one BLAS thread each draw faster than one process with two, because most of a
decoding step is many small array operations. Draws are independent of what they are batched with,
so that splitting a list of jobs over processes changes no result.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any

from threadpoolctl import ThreadpoolController, threadpool_limits

from dwell.errors import GeneratorError, UsageError
from dwell.generators.tiny_engine import Engine, Job, Result, TextScore
from dwell.generators.tiny_weights import TinyModel

_SMALL = 16  # jobs below which a second process would only wait for the first


class EnginePool:
    """Engines that share the jobs of every call.

    With ``jobs=1`` the engine runs in this process. Otherwise workers are started at the first
    call, each with one BLAS thread; they end with `close`, with this process, or when it is
    killed. A script that uses workers needs the usual ``if __name__ == "__main__":``.

    Args:
        model_path: the model's folder.
        jobs: processes.
        slots: rows of each engine's batch.
        cache_tokens: positions each engine keeps for texts that come again.

    Raises:
        UsageError: ``jobs < 1``, or a folder that is no embedded model.
    """

    def __init__(
        self, model_path: str | Path, jobs: int = 1, slots: int = 96, cache_tokens: int = 16384
    ) -> None:
        if jobs < 1:
            raise UsageError(f"`jobs` must be at least 1, but got {jobs=}.")
        self.model = TinyModel.load(model_path)
        self.jobs = jobs
        self._options = {"slots": slots, "cache_tokens": cache_tokens}
        self._engine = Engine(self.model, **self._options) if jobs == 1 else None
        self._blas = ThreadpoolController()
        self._workers: list[tuple[multiprocessing.process.BaseProcess, Connection]] = []
        self._lock = threading.Lock()

    def generate(self, jobs: Sequence[Job]) -> list[Result]:
        """Makes all draws; see `Engine.generate`. Callers in several threads take turns."""
        results: list[Result] = self._call("generate", jobs)
        return results

    def score(self, texts: Sequence[tuple[Sequence[int], int]]) -> list[TextScore]:
        """Reads given texts; see `Engine.score`."""
        scores: list[TextScore] = self._call("score", texts)
        return scores

    def close(self) -> None:
        """Ends the workers."""
        with self._lock:
            self._stop()

    def __enter__(self) -> EnginePool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _call(self, method: str, items: Sequence[Any]) -> list[Any]:
        with self._lock:
            if self._engine is not None:
                with self._blas.limit(limits=1, user_api="blas"):
                    found: list[Any] = getattr(self._engine, method)(items)
                return found
            self._start()
            try:
                return self._share(method, items)
            except (EOFError, OSError) as error:
                self._stop()  # the next call starts anew
                raise GeneratorError(
                    "a worker process of the embedded model ended unexpectedly. Lower `jobs` if "
                    "memory is short.",
                    retryable=True,
                ) from error
            except KeyboardInterrupt:
                self._stop()  # replies still under way belong to no call
                raise

    def _share(self, method: str, items: Sequence[Any]) -> list[Any]:
        """Sends every worker its share and returns the replies in order."""
        count = min(len(self._workers), max(1, len(items) // _SMALL))
        cuts = [len(items) * k // count for k in range(count + 1)]
        shares = [items[a:b] for a, b in zip(cuts, cuts[1:], strict=False)]
        connections = [connection for _, connection in self._workers[:count]]
        for connection, share in zip(connections, shares, strict=True):
            connection.send((method, share))
        replies = [connection.recv() for connection in connections]
        for reply in replies:
            if isinstance(reply, UsageError):
                raise reply
        return [result for reply in replies for result in reply]

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        while len(self._workers) < self.jobs:
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_serve, args=(theirs, str(self.model.path), self._options), daemon=True
            )
            process.start()
            theirs.close()
            self._workers.append((process, ours))

    def _stop(self) -> None:
        for process, connection in self._workers:
            connection.close()
            process.terminate()
        for process, _ in self._workers:
            process.join()
        self._workers.clear()


def _serve(connection: Connection, model_path: str, options: dict[str, int]) -> None:
    """Answers calls until the other end closes; ends at once if the parent process dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to act upon
    threading.Thread(target=_follow_parent, daemon=True).start()
    with threadpool_limits(1, user_api="blas"):
        engine = Engine(TinyModel.load(model_path), **options)
        while True:
            try:
                method, items = connection.recv()
            except (EOFError, OSError):
                return
            try:
                reply = getattr(engine, method)(items)
            except UsageError as error:
                reply = error
            connection.send(reply)


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
