"""Counts of a running server, as Prometheus reads them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from dwell.serve.ended import Ended

#: Upper ends of the histogram of seconds.
BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Gauges:
    """What a server did since it started."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._ends: Counter[str] = Counter()
        self._amounts: defaultdict[str, float] = defaultdict(float)
        self._buckets = [0] * (len(BUCKETS) + 1)
        self._seconds = self._agreement = 0.0
        self._voted = 0

    def replied(self, path: str, status: int) -> None:
        """Count a reply."""
        self._requests[path, status] += 1

    def ended(self, run: Ended) -> None:
        """Count a run."""
        self._ends[run.status.partition(":")[0]] += 1
        for kind, amount in run.spent.items():
            self._amounts[kind] += amount
        self._amounts["attempts"] += len(run.attempts)
        place = next((k for k, end in enumerate(BUCKETS) if run.seconds <= end), len(BUCKETS))
        self._buckets[place] += 1
        self._seconds += run.seconds
        if run.votes.total() > 1 and run.answer is not None:
            self._voted += 1
            self._agreement += run.votes[run.answer] / run.votes.total()

    def text(self, in_flight: int) -> str:
        """The counts in Prometheus' text form."""
        return "\n".join(self._lines(in_flight)) + "\n"

    def _lines(self, in_flight: int) -> Iterator[str]:
        yield from _head("dwell_requests_total", "counter", "Replies by path and status.")
        for (path, code), count in sorted(self._requests.items()):
            yield f'dwell_requests_total{{path="{path}",status="{code}"}} {count}'
        yield from _head("dwell_runs_total", "counter", "Runs of a strategy by how they ended.")
        for status, count in sorted(self._ends.items()):
            yield f'dwell_runs_total{{status="{status}"}} {count}'
        yield from _head("dwell_spent_total", "counter", "What was paid for, by kind.")
        for kind, amount in sorted(self._amounts.items()):
            yield f'dwell_spent_total{{kind="{kind}"}} {amount:.12g}'
        yield from _head("dwell_in_flight", "gauge", "Requests being answered.")
        yield f"dwell_in_flight {in_flight}"
        yield from _head("dwell_agreement", "summary", "Share of votes that the answer had.")
        yield f"dwell_agreement_sum {self._agreement:.12g}"
        yield f"dwell_agreement_count {self._voted}"
        yield from _head("dwell_run_seconds", "histogram", "Seconds of a run.")
        total = 0
        for end, count in zip((*BUCKETS, "+Inf"), self._buckets, strict=True):
            total += count
            yield f'dwell_run_seconds_bucket{{le="{end}"}} {total}'
        yield f"dwell_run_seconds_sum {self._seconds:.12g}"
        yield f"dwell_run_seconds_count {total}"


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
