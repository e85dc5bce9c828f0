"""Recorded samples: tables of them as arrays, and as a generator that strategies run on."""

from dwell.recordings.arrays import NO_ANSWER, Recording, order_of, orders
from dwell.recordings.readers import NO_VOTE, Recorded, read_recordings
from dwell.recordings.replaying import (
    RecordedExact,
    RecordedScores,
    RecordedTask,
    RecordingGenerator,
    fingerprint_of,
    problems_of,
)

__all__ = [
    "NO_ANSWER",
    "NO_VOTE",
    "Recorded",
    "RecordedExact",
    "RecordedScores",
    "RecordedTask",
    "Recording",
    "RecordingGenerator",
    "fingerprint_of",
    "order_of",
    "orders",
    "problems_of",
    "read_recordings",
]
