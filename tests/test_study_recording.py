"""A study's ledger as recordings: the same draws and scores that its own analysis sees."""

import numpy as np
import pytest

import study_world
from dwell.errors import UsageError
from dwell.keys import candidate_subject, key_hash, request_params
from dwell.ledger import Ledger
from dwell.requests import Verify
from dwell.samples import DrawTable
from dwell.strategies import make
from dwell.study import Study
from dwell.study_file import parse_study
from dwell.study_recording import recordings_of

SCORED = """
seed = 1
streams = 2
budgets = [4]
[[models]]
name = "tiny-0.2m"
[[tasks]]
name = "chain"
problems = 4
levels = [3, 4]
[[strategies]]
name = "majority"
[[strategies]]
name = "best_of_n"
verifier = "process_weak"
[[strategies]]
name = "best_of_n"
verifier = "worst_surprisal"
[[strategies]]
name = "majority"
temperature = 0.5
"""


@pytest.fixture(scope="module")
def scored_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scored")
    Study(parse_study(SCORED), folder).run()
    return folder


def table_of(study, ledger, model):
    fingerprint = next(f for f, s in ledger.sources().items() if s.get("model") == model)
    return DrawTable(
        ledger, fingerprint, study.problems, study.tasks["chain"], study.verifiers,
        (study.spec.seed, study.spec.streams),
    )  # fmt: skip


def test_a_study_is_a_recording_of_its_whole_answers(study_folder):
    study = Study.load(study_folder)
    recorded = recordings_of(study_folder)
    (recording,) = recorded.recordings
    assert recording.run == "coin:0.6 on chain"
    assert recording.questions == tuple(p.id for p in study.problems)
    assert recording.tags["level"] == tuple(p.tags["level"] for p in study.problems)
    assert recording.sizes.tolist() == [16] * 8
    assert not recording.columns  # the oracle is not a method
    assert recorded.mixed == 0
    with Ledger(study.ledger_path, read_only=True) as ledger:
        draws = table_of(study, ledger, "coin:0.6").draws(make("majority", n=4))
    for p, (one,) in enumerate(draws):
        answers = [recording.texts[p][code] for code in recording.codes[p]]
        assert answers == [c.answer for c in one.candidates]
        assert recording.correct[p].tolist() == one.correct.tolist()
        assert recording.tokens[p].tolist() == [c.output_tokens for c in one.candidates]


def test_repetitions_are_more_draws_and_settings_are_recordings(scored_folder):
    found = {r.run: r for r in recordings_of(scored_folder).recordings}
    assert set(found) == {"tiny-0.2m on chain", "tiny-0.2m on chain temperature=0.5"}
    for recording in found.values():
        assert recording.sizes.tolist() == [8] * 4


def test_scores_are_those_of_the_ledger_draw_by_draw(scored_folder):
    study = Study.load(scored_folder)
    recording = next(r for r in recordings_of(scored_folder).recordings if "=" not in r.run)
    assert set(recording.columns) == {"process_weak", "worst_surprisal"}
    with Ledger(study.ledger_path, read_only=True) as ledger:
        draws = table_of(study, ledger, "tiny-0.2m").draws(make("majority", n=4))
        verifier = study.verifiers["process_weak"]
        scores, tokens = [], []
        for one in (one for row in draws for one in row):
            for candidate in one.candidates:
                request = Verify((candidate,), verifier.name)
                subject = (one.problem.id, candidate_subject([candidate]))
                params = request_params(request)
                hash_ = key_hash(verifier.fingerprint, "verify", subject, params, one.stream)
                known = ledger.find_key(hash_)
                draw = ledger.draws(known[0], 0, 1)[0] if known else None
                scores.append(np.nan if draw is None else draw.value)
                tokens.append(np.nan if draw is None else draw.output_tokens)
    found = recording.columns["process_weak"]
    assert np.isfinite(found).sum() >= 16
    assert np.array_equal(found.ravel(), scores, equal_nan=True)
    charged = recording.score_tokens["process_weak"]
    assert np.array_equal(charged.ravel(), tokens, equal_nan=True)
    assert np.isfinite(recording.columns["worst_surprisal"]).sum() >= 16


def test_a_folder_without_whole_answers_is_refused(tmp_path):
    study = Study(study_world.spec(), tmp_path)
    with Ledger(study.ledger_path):
        study._write_files()
    with pytest.raises(UsageError, match="must have drawn whole answers"):
        recordings_of(tmp_path)


def test_a_folder_without_a_study_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"must hold study\.toml"):
        recordings_of(tmp_path)
