"""Task files: what a row means, what is refused, and a study on them."""

import asyncio
import json

import pyarrow as pa
import pyarrow.parquet
import pytest

from dwell import analyse
from dwell.cli import main
from dwell.errors import MissingExtraError, UsageError
from dwell.generators import FakeServer, Scripted
from dwell.records import Problem
from dwell.sandbox.bubblewrap import why_not
from dwell.study import Study
from dwell.study_file import parse_study, read_study, study_from_flags
from dwell.tasks import FileTask, algebra, answers, read_problems
from dwell.tasks.checkers import make_checker
from dwell.tasks.files import filled
from dwell.tasks.programs import ProgramTests

contained = pytest.mark.skipif(bool(why_not()), reason=f"no sandbox here: {why_not()}")
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1+1?"}]


@pytest.fixture
def write(tmp_path):
    """Writes rows to a file and gives its path."""

    def writer(*rows, name="p.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return writer


def task_of(path, checker="exact", **options):
    """The task of a file."""
    problems = read_problems(path, "mine", checker=checker, **options)
    return FileTask("mine", problems, checker, ProgramTests(lambda: None)), problems


# ---- answers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["0.5", "1/2", r"\frac{1}{2}", r"\dfrac12", "$0.50$", "50%", "2/4", ".5", "5e-1", "+1/2."],
)
def test_a_half_is_a_half_however_it_is_written(text):
    assert answers.number(text) == "1/2"


@pytest.mark.parametrize(
    ("text", "value"),
    [("1,234,567", "1234567"), ("$5", "5"), (r"-\frac{3}{6}", "-1/2"), ("−3", "-3"), ("1/0", None),
     ("x", None), ("", None), ("1e99999999", None), ("nan", None), ("1,2", None), ("3 4", None)],
)  # fmt: skip
def test_numbers_are_exact_or_none(text, value):
    assert answers.number(text) == value


@pytest.mark.parametrize(
    ("text", "letter"),
    [("The answer is (B).", "B"), (r"\boxed{\text{c}}", "C"), ("Answer: D) 42", "D"), ("b", "B"),
     ("thinking\n\n(A)", "A"), ("Answer: Because", None), ("no idea", None), ("A dog\nran", None)],
)  # fmt: skip
def test_a_choice_is_its_letter(text, letter):
    assert answers.last_letter(text) == letter


def test_a_program_is_its_last_block_without_layout():
    text = "```\nold\n```\nBetter:\n```python\n# sums\ndef f(a,b):\n  return a+b\n```\nDone."
    assert answers.program(text) == "def f(a, b):\n    return a + b"
    assert answers.program("x=1 # bare") == "x = 1"
    assert answers.program("no program here") is None
    assert answers.program("```\nnot = = python\n```") == "not = = python"


@pytest.mark.parametrize("text", ["(" * 5000, "-" * 90_000 + "1", "[" * 900 + "]" * 900, "\0"])
def test_hostile_programs_do_not_break_the_reading(text):
    assert answers.program(f"```\n{text}\n```") is None or isinstance(
        answers.program(f"```\n{text}\n```"), str
    )


def test_algebra_is_the_same_where_its_values_are():
    pytest.importorskip("math_verify")
    checker = make_checker("maths")
    reference = checker.reference(r"2\sqrt{2}")
    texts = [r"\boxed{\sqrt{8}}", r"answer: $2\sqrt2$", r"\boxed{2.5}", r"\boxed{x^{10^{10}}}"]
    found = [checker.extract(text) for text in texts]
    assert [checker.check(reference, answer) for answer in found] == [True, True, False, False]
    assert found[0] == found[1]  # one vote
    assert {checker.extract(f"answer: {half}") for half in ("0.5", "1/2", r"\frac12")} == {"1/2"}


@pytest.mark.parametrize(
    "text",
    ["2^{3^4}", "2^3^4", "9**9**9", "2**(3**4)", "2^{12345}", "10^{-99999}", "99999!", "3!!"],
)
def test_numbers_that_no_algebra_can_hold_are_left_alone(text, monkeypatch):
    monkeypatch.setattr(algebra, "math_verify", lambda: pytest.fail("it was read"))
    assert algebra.expression.__wrapped__(text) == text


@pytest.mark.parametrize(
    "text", ["x^2y^3", "x^{2}y^{3}", "x**2*y**3", "3^4+4^3", "2^{-10}", "2^10", "5!"]
)
def test_ordinary_powers_are_read(text):
    pytest.importorskip("math_verify")
    assert algebra.same_expression(text, text + "+0*z")


@pytest.mark.parametrize(
    ("text", "canonical"),
    [("x**2*y**3", "x**2*y**3"), ("y^3x^2", "x**2*y**3"), ("2^10", "1024"), ("2**10", "1024"),
     (r"\sqrt{8}", "2*sqrt(2)"), ("1+x", "x + 1"), (r"5\text{ cm}", "5"), ("Listen", "listen"),
     (r"\text{Monday}", "monday"), ("sqrt(4)", "2")],
)  # fmt: skip
def test_expressions_have_one_form(text, canonical):
    pytest.importorskip("math_verify")
    assert algebra.expression(text) == canonical


def test_maths_without_its_extra_is_refused_by_name(monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(algebra, "import_module", absent)
    with pytest.raises(MissingExtraError, match=r"math-verify.*dwell\[maths\]"):
        make_checker("maths")


def test_a_pattern_takes_its_last_match():
    checker = make_checker(r"regex:Result: (\w+)")
    assert checker.extract("Result: One\nResult: TWO") == "two"
    assert checker.extract("none") is None


@pytest.mark.parametrize("name", ["regex:", "regex:(", "math", "", "code"])
def test_unknown_checkers_are_refused(name):
    with pytest.raises(UsageError):
        make_checker(name)


# ---- files ---------------------------------------------------------------------------------


def test_rows_become_problems(write):
    path = write(
        {"id": "a", "prompt": "1+1?", "reference": 2, "tags": {"level": 1}},
        {"messages": CHAT, "reference": "2.0", "checker": "number"},
    )
    task, (first, second) = task_of(path)
    assert first.id.startswith("mine/a-")
    assert (first.prompt, first.reference, first.tags) == ("1+1?", "2", {"level": 1})
    assert second.context().messages == (("system", "Be brief."), ("user", "1+1?"))
    assert task.check(second, task.extract(second, "answer: 4/2"))
    assert not task.check(first, "3")


def test_parquet_holds_the_same_problems(write, tmp_path):
    rows = [
        {"id": "a", "messages": CHAT, "reference": "2"},
        {"id": "b", "prompt": "x", "reference": "3"},
    ]
    schema = {"prompt": None, "messages": None}
    pyarrow.parquet.write_table(
        pa.Table.from_pylist([{**schema, **row} for row in rows]), tmp_path / "p.parquet"
    )
    from_lines = read_problems(write(*rows), "mine")
    assert read_problems(tmp_path / "p.parquet", "mine") == from_lines


def test_a_changed_row_is_another_problem(write):
    row = {"id": "a", "prompt": "1+1?", "reference": "2"}
    ids = {
        read_problems(write({**row, **change}), "mine")[0].id
        for change in ({}, {"prompt": "1+2?"}, {"reference": "3"}, {"checker": "number"})
    }
    assert len(ids) == 4
    assert read_problems(write({**row, "tags": {"level": 2}}), "mine")[0].id in ids


def test_templates_fill_in_columns_and_nothing_else(write):
    template = r"{question}" + "\n{choices}\n" + r"Put it in \boxed{}, not {this}."
    row = {"question": "Why {0} {choices}?", "choices": ["x", "y"], "reference": 1}
    (problem,) = read_problems(write(row), "mine", checker="choice", template=template)
    assert problem.prompt == (
        "Why {0} {choices}?\nA) x\nB) y\n" + r"Put it in \boxed{}, not {this}."
    )
    assert problem.reference == "B"
    with pytest.raises(UsageError, match="names none of"):
        filled("{query}", row)


GOOD = {"prompt": "x", "reference": "1"}


@pytest.mark.parametrize(
    ("row", "checker", "rule"),
    [
        ({"question": "x"}, None, "must have a text as `prompt`"),
        ({"prompt": " ", "reference": 1}, None, "must have a text"),
        ({"prompt": "x"}, None, "must have a `reference`"),
        ({"prompt": "x", "reference": [1]}, None, "a list or an object"),
        ({**GOOD, "reference": "x + 1"}, "number", "a rational number"),
        ({**GOOD, "reference": "none"}, "choice", "a letter"),
        ({**GOOD, "choices": ["a"], "reference": 1}, "choice", "a place among the choices"),
        (GOOD, "maths2", "must be one of"),
        (GOOD, "code", "must have `tests`"),
        ({**GOOD, "tests": []}, "code", "at least one"),
        ({**GOOD, "tests": [{"input": 1}]}, "code", "A test must be"),
        ({**GOOD, "tags": [1]}, None, "must be an object"),
        ({"messages": [], "reference": 1}, None, "are empty"),
        ({"messages": [{"role": "bot", "content": ""}], "reference": 1}, None, "must have a role"),
        ({"messages": [{"role": "assistant", "content": "x"}], "reference": 1}, None, "end with"),
    ],
)
def test_a_bad_row_gets_one_line_with_file_row_and_rule(write, row, checker, rule):
    path = write({"id": "fine", **GOOD, "checker": "exact"}, row)
    with pytest.raises(UsageError) as caught:
        read_problems(path, "mine", checker=checker)
    message = str(caught.value)
    assert message.startswith(f"{path} row 2: ")
    assert rule in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "name", "rule"),
    [
        (b"", "p.jsonl", "at least one row"), (b"{", "p.jsonl", "row 1: a line must be JSON"),
        (b"[1]", "p.jsonl", "JSON object"), (b"\xff", "p.jsonl", "UTF-8"),
        (b"x", "p.csv", "must be .jsonl"), (b"x", "p.parquet", "must be whole"),
        (b'{"id": 1, "prompt": "x", "reference": 1}\n' * 2, "p.jsonl", "must be there once"),
    ],
)  # fmt: skip
def test_a_bad_file_is_named(tmp_path, content, name, rule):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=name) as caught:
        read_problems(tmp_path / name, "mine")
    assert rule in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match="no file"):
        read_problems(tmp_path / "p.jsonl", "mine")


def test_problems_without_messages_ask_as_before():
    assert Problem(id="x", prompt="p").context().messages == (("user", "p"),)


# ---- studies -------------------------------------------------------------------------------

STUDY = """
budgets = [1, 4]
[[models]]
name = "m"
[[tasks]]
name = "mine"
file = "p.jsonl"
checker = "number"
template = "{question}"
[[strategies]]
name = "majority"
[[strategies]]
name = "best_of_n"
verifier = "exact"
"""
ROWS = [
    {"id": "half", "question": "a half?", "reference": "0.5"},
    {"id": "letter", "question": "which?", "checker": "choice", "reference": "B"},
    {"id": "program", "question": "add one", "checker": "code",
     "tests": ["assert f(1) == 2", {"call": "f", "args": [4], "returns": 5}]},
]  # fmt: skip
GIVEN = {
    "a half?": (r"\boxed{\frac12}", "answer: 0.4"),
    "which?": ("The answer is (B).", "Answer: A"),
    "add one": ("```python\ndef f(x): return x + 1\n```", "```python\ndef f(x): return x\n```"),
}


def reply(context, index, rng):
    """Right every second time."""
    return GIVEN[context.messages[-1][1]][index % 2]


@pytest.fixture
def study(write, tmp_path, monkeypatch):
    """A study file beside its problems, on a scripted model; gives its path."""
    write(*ROWS)
    model = Scripted.from_function(reply, name="halves")
    monkeypatch.setattr("dwell.study.make_generator", lambda *_, **__: model)
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    return path


@contained
def test_a_study_on_a_task_file_runs_and_is_analysed(study, tmp_path):
    progress = Study(read_study(study), tmp_path / "run").run()
    assert (progress.runs_done, progress.runs_failed) == (12, 0)
    curves = {curve["label"]: curve for curve in analyse(tmp_path / "run")["curves"]}
    exact = next(curve for name, curve in curves.items() if name.startswith("best_of_n"))
    assert [round(p["accuracy"], 6) for p in exact["points"]] == [0.5, 1.0]
    again = Study(read_study(study), tmp_path / "run").run()
    assert (again.runs_done, again.draws_new) == (0, 0)


@contained
def test_a_finished_study_needs_neither_its_file_nor_a_sandbox(study, tmp_path, monkeypatch):
    Study(read_study(study), tmp_path / "run").run()
    (tmp_path / "p.jsonl").unlink()
    monkeypatch.setattr("dwell.sandbox.bubblewrap.why_not", lambda: "there is none")
    assert analyse(tmp_path / "run")["curves"]
    verdicts = (tmp_path / "run" / "verdicts.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["passed"] for line in verdicts) == [False, True]


def test_programs_are_refused_before_anything_is_paid_for(study, tmp_path, monkeypatch):
    monkeypatch.setattr("dwell.sandbox.bubblewrap.why_not", lambda: "there is none")
    with pytest.raises(UsageError, match="--unsafe-local"):
        Study(read_study(study), tmp_path / "run").run()
    assert not (tmp_path / "run" / "ledger.db").exists()
    progress = Study(read_study(study), tmp_path / "run", unsafe_local=True).run()
    assert progress.runs_failed == 0


async def test_a_study_on_a_task_file_runs_against_an_endpoint(write, tmp_path):
    path = write({"prompt": "Say it.", "reference": "2.0"}, {"messages": CHAT, "reference": "2"})
    async with FakeServer(Scripted.from_function(lambda *_: "answer: 4/2")) as server:
        spec = study_from_flags(
            ["openai:fake"], [f"file:{path},checker=number"], ["majority"], [2],
            base_url=server.base_url,
        )  # fmt: skip
        await asyncio.to_thread(Study(spec, tmp_path / "run").run)
    curve = next(c for c in analyse(tmp_path / "run")["curves"] if c["label"] == "majority")
    assert curve["points"][0]["accuracy"] == 1.0


def test_the_command_line_runs_a_task_file(study, tmp_path, capsys):
    word = f"file:{tmp_path / 'p.jsonl'},checker=number"
    command = ["run", "--task", word, "--strategy", "majority:n=2", "--out", str(tmp_path / "run")]
    (tmp_path / "p.jsonl").write_text('{"prompt": "a half?", "reference": "1/2"}\n')
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 0
    (tmp_path / "p.jsonl").write_text('{"prompt": "a half?", "reference": "x"}\n')
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "row 1: a reference of the checker `number` must be a rational number" in line


def test_flags_name_a_file_its_checker_and_how_many():
    spec = study_from_flags(["m"], ["file:a/b.jsonl,checker=maths,problems=3"], ["majority"], [])
    (task,) = spec.tasks
    assert (task.name, task.checker, task.problems) == ("b", "maths", 3)
    with pytest.raises(UsageError, match="file:PATH"):
        study_from_flags(["m"], ["file:a.jsonl,colour=red"], ["majority"], [])


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (('name = "mine"', 'name = "chain"'), "a name of its own"),
        (('file = "p.jsonl"\n', ""), "`checker`"),
        (('template = "{question}"', "levels = [3]"), "`levels`"),
    ],
)
def test_task_settings_that_do_not_fit_are_refused(write, tmp_path, change, rule):
    write(*ROWS)
    with pytest.raises(UsageError, match=rule):
        Study(parse_study(STUDY.replace(*change)), tmp_path / "run")
