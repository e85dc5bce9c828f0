"""`dwell fit`, `laws`, `optimum` and `crossover`, from the command line's point of view."""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner

from dwell.cli import cli
from dwell.errors import UsageError
from dwell.laws import LAWS

TRUE = {"E": 1.8, "A": 480.0, "B": 2000.0, "alpha": 0.35, "beta": 0.37}
KEYS = {"law", "params", "standard_errors", "intervals", "objective", "starts_at_best", "verdict",
        "r2", "holdout"}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A table of training runs with 1 % of noise, and a text column."""
    rng = np.random.default_rng(0)
    params, tokens = 10 ** rng.uniform(7.5, 10, 60), 10 ** rng.uniform(9, 11.5, 60)
    loss = LAWS["chinchilla"].evaluate({"N": params, "D": tokens}, TRUE)
    loss *= np.exp(0.01 * rng.standard_normal(60))
    path = tmp_path_factory.mktemp("laws") / "runs.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["params", "tokens", "loss", "family"])
        writer.writerows(zip(params, tokens, loss, ["a", "b"] * 30, strict=True))
    return path


def run(*words):
    return CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)


def test_fit_prints_parameters_with_intervals(runs):
    result = run("fit", runs, "--law", "chinchilla", "--holdout", "C>1e21")
    assert result.exit_code == 0
    for word in ("alpha", "starts", "held out", "verdict", "Huber_0.001"):
        assert word in result.output


def test_fit_as_json_has_the_promised_keys(runs):
    result = run("fit", runs, "--law", "chinchilla", "--json", "--bootstrap", "50")
    record = json.loads(result.output)
    assert set(record) >= KEYS
    assert record["holdout"] is None
    low, high = record["intervals"]["alpha"]
    assert low < TRUE["alpha"] < high
    assert record["intervals_from"] == "pairs bootstrap"


def test_columns_may_be_mapped_and_rows_filtered(runs):
    words = ("--x", "N=params,D=tokens", "--y", "loss", "--where", "family=a", "--where",
             "params>1e8", "--drop-largest", "loss:1")  # fmt: skip
    record = json.loads(run("fit", runs, "--law", "chinchilla", "--json", *words).output)
    assert 5 < record["num_rows"] < 30
    assert record["ranges"]["N"][0] > 1e8


def test_options_reach_the_engine(runs):
    words = ("--fix", "alpha=0.35", "--loss", "squares", "--space", "linear", "--json")
    record = json.loads(run("fit", runs, "--law", "chinchilla", *words).output)
    assert record["params"]["alpha"] == pytest.approx(0.35)
    assert (record["loss"], record["space"], record["delta"]) == ("squares", "linear", None)
    tied = json.loads(
        run("fit", runs, "--law", "chinchilla", "--tie", "alpha=beta", "--json").output
    )
    assert tied["params"]["alpha"] == tied["params"]["beta"]
    joint = json.loads(
        run("fit", runs, "--law", "chinchilla", "--scale", "joint", "--json").output
    )
    assert joint["sigma"] > 0


def test_auto_compares_the_laws_that_fit_the_columns(runs):
    record = json.loads(
        run("fit", runs, "--law", "auto", "--x", "N=params,D=tokens", "--json").output
    )
    names = [one["law"] for one in record["compared"]]
    assert {"chinchilla", "kaplan"} <= set(names)
    assert names.index("chinchilla") < names.index("kaplan")


def test_auto_leaves_out_laws_with_as_many_parameters_as_rows(tmp_path):
    rng = np.random.default_rng(1)
    params, tokens = 10 ** rng.uniform(7.5, 10, 10), 10 ** rng.uniform(9, 11.5, 10)
    loss = LAWS["chinchilla"].evaluate({"N": params, "D": tokens}, TRUE)
    rows = "\n".join(f"{n},{d},{y}" for n, d, y in zip(params, tokens, loss, strict=True))
    (tmp_path / "few.csv").write_text("params,tokens,loss\n" + rows)
    result = run("fit", tmp_path / "few.csv", "--law", "auto")
    assert result.exit_code == 0
    (told,) = [line for line in result.output.splitlines() if line.startswith("left out farseer")]
    assert "9 free parameters, but the rows to fit have 10 distinct inputs" in told
    assert result.output.splitlines()[-1].startswith("verdict")


def test_optimum_answers_from_a_written_fit(runs, tmp_path):
    path = tmp_path / "fit.json"
    run("fit", runs, "--law", "chinchilla", "--out", path)
    record = json.loads(run("optimum", path, "--compute", "1e22", "--json").output)
    a, b = TRUE["alpha"], TRUE["beta"]
    scale = (a * TRUE["A"] / (b * TRUE["B"])) ** (1 / (a + b))
    best = scale * (1e22 / 6) ** (b / (a + b))
    assert record["params"]["low"] < best < record["params"]["high"]
    assert "tokens/parameter" in run("optimum", path, "--compute", "1e22").output
    served = run("optimum", path, "--compute", "1e22", "--served-tokens", "1e13", "--json")
    assert json.loads(served.output)["params"]["value"] < record["params"]["value"]


def test_crossover_of_two_written_fits(tmp_path):
    x = np.geomspace(1, 1e6, 20)
    for name, params in {"a": (0.2, 3.0, 0.3), "b": (0.1, 5.0, 0.3)}.items():
        loss = params[0] + params[1] * x ** -params[2]
        rows = "\n".join(f"{u},{v}" for u, v in zip(x, loss, strict=True))
        (tmp_path / f"{name}.csv").write_text("x,loss\n" + rows)
        run("fit", tmp_path / f"{name}.csv", "--law", "m2", "--out", tmp_path / f"{name}.json")
    files = tmp_path / "a.json", tmp_path / "b.json"
    (one,) = json.loads(run("crossover", *files, "--over", "x", "--json").output)
    assert one["x"]["value"] == pytest.approx(20 ** (1 / 0.3), rel=1e-6)
    assert "outside" not in run("crossover", *files, "--over", "x").output
    none = run("crossover", *files, "--over", "x", "--range", "1:10")
    assert "do not cross" in none.output


def test_isoflop_prints_vertices_and_bias(tmp_path):
    path = tmp_path / "runs.csv"
    lines = ["params,tokens,budget,loss"]
    for budget in (1e19, 1e20, 1e21):
        for size in np.geomspace(0.2, 5, 7) * (budget / 120) ** 0.5:
            tokens = budget / 6 / size
            loss = LAWS["chinchilla"].evaluate({"N": size, "D": tokens}, TRUE)[0]
            lines.append(f"{size},{tokens},{budget},{loss}")
    path.write_text("\n".join(lines))
    record = json.loads(run("fit", path, "--law", "isoflop", "--json").output)
    assert record["params"]["a"] == pytest.approx(0.37 / 0.72, abs=0.02)
    assert "bias of the parabolas" in run("fit", path, "--law", "isoflop").output


def test_laws_lists_and_explains(runs):
    assert "kaplan" in run("laws").output
    assert "irreducible loss" in run("laws", "chinchilla").output
    assert {one["law"] for one in json.loads(run("laws", "--json").output)} == set(LAWS)


def test_a_plot_is_one_file_that_loads_nothing(runs, tmp_path):
    path = tmp_path / "plots" / "fit.html"
    result = run("fit", runs, "--law", "chinchilla", "--plot", path, "--holdout", "C>1e21")
    assert result.exit_code == 0
    text = path.read_text(encoding="utf-8")
    assert "IsoFLOP" in text
    assert "residuals in log space" in text
    assert 'src="http' not in text


def test_a_plot_of_a_curve_as_svg_shows_data_band_and_residuals(tmp_path):
    x = np.geomspace(1, 1e6, 20)
    rows = "\n".join(f"{u},{0.2 + 3 * u**-0.3}" for u in x)
    (tmp_path / "a.csv").write_text("x,loss\n" + rows)
    path = tmp_path / "a.svg"
    run("fit", tmp_path / "a.csv", "--law", "m2", "--holdout", "x>1e5", "--plot", path)
    text = path.read_text()
    for word in ("<svg", "held out", "90% band", "residuals"):
        assert word in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--law", "nothing"), "must be one of"),
        (("--law", "m2"), "no column for `x`"),
        (("--law", "chinchilla", "--y", "cost"), "no column 'cost'"),
        (("--law", "chinchilla", "--where", "loss"), "COLUMN>VALUE"),
        (("--law", "chinchilla", "--where", "family>3"), "holds text"),
        (("--law", "chinchilla", "--where", "params>1e30"), "no row"),
        (("--law", "chinchilla", "--holdout", "C>1e30"), "--holdout"),
        (("--law", "chinchilla", "--x", "N"), "NAME=VALUE"),
        (("--law", "chinchilla", "--fix", "alpha=x"), "NAME=NUMBER"),
        (("--law", "chinchilla", "--fix", "gamma=1"), "has parameters"),
        (("--law", "chinchilla", "--drop-largest", "loss"), "COLUMN:NUMBER"),
        (("--law", "chinchilla", "--drop-largest", "loss:57"), "only 3 rows"),
        (("--law", "chinchilla", "--plot", "fit.pdf"), ".html, .png or .svg"),
        (("--law", "chinchilla", "--bootstrap", "9", "--kind", "cluster"), "needs clusters"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(runs, words, message):
    with pytest.raises(UsageError) as refused:
        run("fit", runs, *words)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_no_fit_is_refused(runs, tmp_path):
    with pytest.raises(UsageError, match="dwell fit --out"):
        run("optimum", runs, "--compute", "1e21")
    (tmp_path / "empty.json").write_text("{}")
    with pytest.raises(UsageError, match="no fit"):
        run("optimum", tmp_path / "empty.json", "--compute", "1e21")
