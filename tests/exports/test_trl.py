"""TRL reads what is exported: its own functions prepare it, and its trainers take two steps.

Needs `trl` (with torch, transformers and datasets), which the project does not:

    pip install trl; pytest -m slow tests/exports/test_trl.py
"""

import importlib

import pytest

from dwell.generators.tiny_models import MODELS

trl = pytest.importorskip("trl")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"


@pytest.fixture(scope="module")
def hugging():
    """(datasets, transformers); their progress bars are off."""
    datasets, transformers = map(importlib.import_module, ("datasets", "transformers"))
    datasets.disable_progress_bars()
    return datasets, transformers


@pytest.fixture
def loaded(hugging, exported, dwell, searched, tmp_path):
    """Exports and loads with `datasets`."""

    def run(kind, *args, suffix="jsonl"):
        out = tmp_path / f"{kind}.{suffix}"
        code, _, err = dwell("export", searched, "--to", kind, "--out", out, *args)
        assert code == 0, err
        name = "json" if suffix == "jsonl" else suffix
        return hugging[0].load_dataset(
            name, data_files=str(out), split="train", cache_dir=str(tmp_path / "cache")
        )

    return run


@pytest.fixture
def tokenizer(hugging):
    """The embedded model's tokenizer, with a chat template of one line."""
    found = hugging[1].AutoTokenizer.from_pretrained(MODELS["tiny-0.2m"].path)
    found.chat_template = TEMPLATE
    return found


@pytest.fixture
def model(hugging):
    """The smallest embedded model."""
    return hugging[1].AutoModelForCausalLM.from_pretrained(
        MODELS["tiny-0.2m"].path, dtype="float32"
    )


def settings(kind, folder, **options):
    return kind(
        output_dir=str(folder), max_steps=2, per_device_train_batch_size=2, use_cpu=True,
        report_to=[], save_strategy="no", disable_tqdm=True, **options,
    )  # fmt: skip


def loss_of(trainer):
    found = trainer.train().training_loss
    assert found == found
    assert found > 0
    return found


@pytest.mark.parametrize("form", ["text", "chat"])
@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_the_forms_are_those_that_trl_knows(loaded, tokenizer, form, suffix):
    for kind, names in (
        ("sft", {"prompt", "completion"}),
        ("dpo", {"prompt", "chosen", "rejected"}),
        ("kto", {"prompt", "completion", "label"}),
    ):
        rows = loaded(kind, "--form", form, suffix=suffix)
        assert set(rows.column_names) == names | {"question_id"}
        assert trl.is_conversational(rows[0]) == (form == "chat")
        plain = trl.maybe_apply_chat_template(rows[0], tokenizer)
        assert all(isinstance(plain[name], str) for name in names - {"label"})
        assert plain["prompt"]
        assert not plain["prompt"].startswith("[")


@pytest.mark.parametrize("form", ["text", "chat"])
def test_two_steps_of_supervised_training(loaded, tokenizer, model, tmp_path, form):
    rows = loaded("sft", "--form", form)
    trainer = trl.SFTTrainer(
        model, settings(trl.SFTConfig, tmp_path / "out", completion_only_loss=True),
        train_dataset=rows, processing_class=tokenizer,
    )  # fmt: skip
    first = trainer.train_dataset[0]
    whole = rows[0]["prompt"] + rows[0]["completion"]
    if form == "text":
        assert tokenizer.decode(first["input_ids"], skip_special_tokens=True) == whole
    loss_of(trainer)


@pytest.mark.parametrize("form", ["text", "chat"])
def test_two_steps_of_training_on_preferences(loaded, tokenizer, model, tmp_path, form):
    trainer = trl.DPOTrainer(
        model, args=settings(trl.DPOConfig, tmp_path / "out"),
        train_dataset=loaded("dpo", "--form", form, suffix="parquet"), processing_class=tokenizer,
    )  # fmt: skip
    loss_of(trainer)


def test_two_steps_of_training_on_single_labels(loaded, tokenizer, model, tmp_path):
    trainer = trl.KTOTrainer(
        model, args=settings(trl.KTOConfig, tmp_path / "out"),
        train_dataset=loaded("kto", "--balance", "label"), processing_class=tokenizer,
    )  # fmt: skip
    loss_of(trainer)


def process_trainer():
    """(trainer, configuration) of process reward models; releases after 1.0 have none."""
    for module in ("trl.experimental.prm", "trl"):
        try:
            home = importlib.import_module(module)
            return home.PRMTrainer, home.PRMConfig
        except (ImportError, AttributeError):
            continue
    return pytest.skip("this release of TRL has no PRMTrainer")


def test_two_steps_of_training_a_process_reward_model(loaded, hugging, tokenizer, tmp_path):
    trainer_of, config_of = process_trainer()
    model = hugging[1].AutoModelForTokenClassification.from_pretrained(
        MODELS["tiny-0.2m"].path, num_labels=2, dtype="float32"
    )
    rows = loaded("prm")
    trainer = trainer_of(
        model, args=settings(config_of, tmp_path / "out", max_length=256),
        train_dataset=rows, processing_class=tokenizer,
    )  # fmt: skip
    first = trainer.train_dataset[0]
    assert [one for one in first["labels"] if one != -100] == list(map(int, rows[0]["labels"]))
    steps = "\n".join(rows[0]["completions"]) + "\n"
    assert tokenizer.decode(first["input_ids"]) == rows[0]["prompt"] + steps
    loss_of(trainer)
