"""Real recordings: counts, published numbers and speed; runs only beside the shared data."""

import time
from pathlib import Path

import numpy as np
import pytest

from dwell.metrics import pass_at_k
from dwell.recordings import read_recordings

DATA = Path(__file__).parents[3] / "shared/data/samples"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="needs the shared data")


def coverage(recording, k):
    """pass@k of one recording."""
    right = np.nansum(recording.correct, axis=1).astype(int)
    return float(pass_at_k(recording.sizes, right, [k]).mean())


def read(name, **options):
    return read_recordings(DATA / f"{name}.parquet", **options)


@pytest.mark.parametrize(
    ("name", "run", "expected"),
    [
        ("game24_tot_samples", 0, {1: 4.0, 4: 12.3, 8: 19.0, 16: 26.9, 40: 38.0, 100: 49.0}),
        ("game24_tot_samples", 1, {1: 7.3, 4: 13.9, 8: 16.9, 16: 20.0, 40: 25.6, 100: 33.0}),
        ("esc_last_letters_gpt35", 0, {1: 78.3, 4: 85.7, 8: 87.8, 16: 89.8, 40: 92.0}),
        ("cruxeval_output_codellama7b", 0, {1: 34.2, 4: 39.6, 8: 41.4}),
        ("math100_qwen_rm", 0, {1: 91.0, 4: 95.1, 8: 96.0}),
        ("codet_humaneval_codegen16b", 0, {1: 21.6, 8: 50.6, 40: 69.6, 100: 78.0}),
        ("tau_bench_airline_gpt4o", 0, {1: 42.0, 4: 72.0}),
    ],
)
def test_coverage_is_what_the_data_s_readme_says(name, run, expected):
    recording = read(name).recordings[run]
    found = {k: 100 * coverage(recording, k) for k in expected}
    assert found == pytest.approx(expected, abs=0.0501)


def test_successive_attempts_reach_the_published_success():
    recorded = read("intercode_sql_turns")
    found = {r.run: 100 * np.nanmax(r.correct, axis=1).mean() for r in recorded.recordings}
    assert found["ic_sql_multiturn_gpt-4_10_turns"] == pytest.approx(73.7, abs=0.0501)
    assert any(r.turns is not None for r in recorded.recordings)


def test_bad_rows_of_a_real_log_are_named_and_counted():
    with pytest.raises(ValueError, match="game24_tot_search.parquet row 1873"):
        read("game24_tot_search")
    assert read("game24_tot_search", skip_bad=True).skipped == 13
    final = read("game24_tot_search", where=["turn=3", "selected=true"], skip_bad=True)
    assert final.recordings[0].turns is None


def test_unknown_counts_are_skipped_by_request():
    recorded = read("livecodebench_execution_counts", skip_bad=True)
    assert recorded.skipped == 958
    assert all(r.codes is None for r in recorded.recordings)


def test_one_vote_a_model_over_many_runs():
    recorded = read("epoch_otis_aime", runs_as_samples=True)
    (recording,) = recorded.recordings
    assert recording.sizes.max() == 126
    assert len(recording.questions) == 45


@pytest.mark.slow
def test_forty_five_thousand_rows_are_read_in_half_a_second():
    times = []
    for _ in range(3):
        start = time.perf_counter()
        recorded = read("epoch_otis_aime")
        times.append(time.perf_counter() - start)
    assert sum(int(r.sizes.sum()) for r in recorded.recordings) == 45280
    assert min(times) < 0.5
