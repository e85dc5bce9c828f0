"""A recording is a generator, and its columns are verifiers, like any other."""

import pytest
from recorded_world import a_recording

from dwell.recordings import RecordedExact, RecordedScores, RecordingGenerator, problems_of
from dwell.records import Candidate
from dwell.testing import GeneratorSuite, VerifierSuite

RECORDING = a_recording()
PROBLEM = problems_of(RECORDING)[2]


def candidate(place):
    text = f"{place} ten"
    return Candidate(PROBLEM.context(), text, "end", "ten", place, 9, {"row": place})


class TestRecordingGenerator(GeneratorSuite):
    problem = PROBLEM
    counts_tokens = False  # a cap was not recorded, and is refused

    @pytest.fixture
    def generator(self):
        return RecordingGenerator(RECORDING)


@pytest.mark.parametrize(
    "verifier",
    [RecordedScores(RECORDING, "score"), RecordedExact(RECORDING)],
    ids=["score", "exact"],
)
class TestRecordedVerifiers(VerifierSuite):
    problem = PROBLEM
    candidates = (candidate(0), candidate(3))
