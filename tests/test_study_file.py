"""The study file: what it means, and what is refused before anything runs."""

from pathlib import Path

import pytest

import study_world
from dwell.errors import UsageError
from dwell.study_file import (
    DEFAULT_BUDGETS,
    check_study,
    parse_study,
    read_study,
    study_from_flags,
)
from dwell.study_toml import to_toml

LEAST = {
    "models": [{"name": "m"}],
    "tasks": [{"name": "chain"}],
    "strategies": [{"name": "majority"}],
}


def test_the_least_study_has_defaults():
    spec = check_study(LEAST)
    assert (spec.seed, spec.streams, spec.order, spec.budgets) == (0, 1, "issued", DEFAULT_BUDGETS)
    assert [point[1] for point in spec.strategies_at()] == list(DEFAULT_BUDGETS)


def test_a_study_reads_back_what_it_writes():
    spec = study_world.spec()
    assert parse_study(to_toml(spec)) == spec
    rich = check_study(
        {
            **LEAST, "title": 'quote " back \\ line \n', "limits": {"output_tokens": 50},
            "spend_limits": {"calls": 100.0}, "order": "finished",
            "models": [{"name": "openai:x", "base_url": "http://h/v1", "temperature": 0.5,
                        "extra_body": {"top_k": 0, "a b": {"c": [1.5, True]}}},
                       {"name": "transformers:x", "top_p": 0.9, "closing": ["</think>"]}],
            "strategies": [{"name": "beam", "m": 2, "budgets": [4, 8], "choose": "best"}],
            "verifiers": [{"name": "prm", "model": "transformers:y", "aggregate": "min"}],
        }
    )  # fmt: skip
    assert parse_study(to_toml(rich)) == rich


def test_each_kind_of_model_is_given_the_keys_that_it_takes():
    models = [
        {"name": "openai:x", "base_url": "http://h/v1", "concurrency": 3, "step_delimiter": "#"},
        {"name": "transformers:x", "top_k": 5, "step_delimiter": "#"},
        {"name": "tiny-0.8m"},
    ]
    table = {**LEAST, "models": [{**model, "max_tokens": 9} for model in models]}
    given = [
        {k for k, value in model.model_options().items() if value is not None}
        for model in check_study(table).models
    ]
    assert given == [
        {"max_tokens", "concurrency", "step_delimiter", "api"},
        {"max_tokens", "top_k", "step_delimiter"},
        {"max_tokens"},
    ]


@pytest.mark.parametrize(
    ("name", "key", "value", "allowed"),
    [
        ("tiny-0.8m", "device", "cpu", "kind embedded takes max_tokens, temperature"),
        ("tiny-0.8m", "concurrency", 4, "kind embedded takes max_tokens, temperature"),
        ("tiny-0.8m", "base_url", "http://h/v1", "kind embedded takes"),
        ("models/mine", "top_p", 0.5, "kind embedded takes"),
        ("openai:x", "device", "cpu", "kind openai takes api, base_url, concurrency"),
        ("transformers:x", "hedge_seconds", 1.0, "kind transformers takes batch, closing"),
        ("coin:0.5", "temperature", 0.5, "kind coin takes no key but its name"),
    ],
)
def test_a_key_of_another_kind_of_model_is_refused(name, key, value, allowed):
    with pytest.raises(UsageError, match=f"{name} was given `{key}`.*{allowed}") as caught:
        check_study({**LEAST, "models": [{"name": name, key: value}]})
    judge = {"name": "strict", "model": name, key: value}
    with pytest.raises(UsageError, match=f"{name} was given `{key}`"):
        check_study({**LEAST, "judges": [judge]})
    assert "\n" not in str(caught.value)


def test_an_address_on_the_command_line_is_for_endpoints_alone():
    spec = study_from_flags(
        ["openai:x", "tiny-0.8m"], ["chain"], ["majority"], [2], base_url="http://h/v1"
    )
    assert [model.base_url for model in spec.models] == ["http://h/v1", None]


def test_parameters_and_own_budgets_of_a_strategy():
    table = {**LEAST, "strategies": [{"name": "beam", "m": 2, "budgets": [8, 4, 8]}]}
    points = check_study(table).strategies_at()
    assert [(budget, strategy.n, strategy.m) for _, budget, strategy in points] == [
        (4, 4, 2),
        (8, 8, 2),
    ]


def test_flags_make_the_same_study_as_a_file():
    spec = study_from_flags(
        ["m"], ["chain:20"], ["best_of_n:verifier=exact", "majority:n=9"], [1, 4]
    )
    assert spec.tasks[0].problems == 20
    points = [(strategy.spec(), budget) for _, budget, strategy in spec.strategies_at()]
    assert [budget for _, budget in points] == [1, 4, 9]
    assert "verifier=exact" in points[0][0]
    assert parse_study(to_toml(spec)) == spec


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"strategies": [{"name": "majorty"}]}, "Did you mean majority"),
        ({"strategies": [{"name": "majority", "width": 3}]}, "width"),
        ({"strategies": []}, "strategies"),
        ({"budgets": [0]}, "`n` must be"),
        ({"budgets": [-4]}, "at least 1"),
        ({"budgets": "many"}, "budgets"),
        ({"seed": -1}, "seed"),
        ({"colour": "red"}, "colour"),
        ({"models": [{"name": "m", "size": 3}]}, "models.0.size"),
        ({"tasks": [{"name": "chain", "problems": 0}]}, "tasks.0.problems"),
        ({"tasks": [{"name": "chain", "split": "dev"}]}, "tasks.0.split"),
        ({"order": "random"}, "order"),
        ({"limits": {"words": 3}}, "words"),
        ({"limits": {"output_tokens": -1}}, "at least 0"),
        ({"limits": {"output_tokens": 0}}, "one draw"),
        ({"limits": {"calls": 0.5}}, "one draw"),
        ({"spend_limits": {"calls": 0}}, "one draw"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(change, rule):
    with pytest.raises(UsageError) as caught:
        check_study({**LEAST, **change}, "study.toml")
    message = str(caught.value)
    assert rule in message
    assert "\n" not in message


@pytest.mark.parametrize("missing", ["models", "tasks", "strategies"])
def test_what_is_missing_is_named(missing):
    with pytest.raises(UsageError, match=missing):
        check_study({key: value for key, value in LEAST.items() if key != missing})


def test_broken_toml_names_the_line(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text("seed = 0\nbudgets = [1, 2\n[[models]]\n")
    with pytest.raises(UsageError, match=r"must be TOML.*line 3"):
        read_study(path)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", None])
def test_an_unreadable_file_is_named(tmp_path, content):
    path = tmp_path / "study.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match="study.toml"):
        read_study(path)


@pytest.mark.parametrize("word", ["chain:many", "chain:", "chain:-3"])
def test_task_words_are_checked(word):
    with pytest.raises(UsageError, match="NAME:PROBLEMS"):
        study_from_flags(["m"], [word], ["majority"], [])


def test_the_demo_s_study_is_valid():
    import dwell

    text = Path(dwell.__file__).with_name("demo.toml").read_text(encoding="utf-8")
    assert parse_study(text).strategies_at()
