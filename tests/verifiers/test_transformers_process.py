"""Reward models from local checkpoints, against plain forward passes of small random ones."""

import asyncio
import json
import math
from typing import ClassVar

import pytest

from dwell.errors import UsageError
from dwell.ledger import Ledger
from dwell.protocols import VerifyWork
from dwell.records import Candidate, Context, Problem
from dwell.study import Study
from dwell.study_file import parse_study
from dwell.testing import VerifierSuite
from dwell.verifiers import make_verifier

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")
safetensors = pytest.importorskip("safetensors.torch")
process = pytest.importorskip("dwell.verifiers.transformers_process")

pytestmark = pytest.mark.filterwarnings("default")

WORDS = ["<pad>", "<s>", "<extra_0>", "<end>", "ки", "\n", "+", "-", "=", "user", "assistant",
         *(str(k) for k in range(10)), "C", "A", "*", "W"]  # fmt: skip
SPECIAL = WORDS[:4]
CHAT = (
    "{% for m in messages %}{{ m.role }}{{ m.content }}<end>{% endfor %}"
    "{% if add_generation_prompt %}assistant{% endif %}"
)
PROBLEM = Problem(id="p", prompt="C1+2-3", task="sums", reference="0")
TEXTS = ("1+2=3\n3-3=0\nA0\n", "1+2=3\n3-3=1\nA1\n", "1+2=4\n4-3=1\n", "1+2=3\n")


def write_tokenizer(folder, chat):
    vocabulary = {word: k for k, word in enumerate(WORDS)}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<pad>"))
    inner.add_special_tokens(SPECIAL)
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Split(" ", "removed"),
            tokenizers.pre_tokenizers.Split(
                tokenizers.Regex(r"ки|user|assistant|[\s\S]"), "isolated"
            ),
        ]
    )
    inner.decoder = tokenizers.decoders.Fuse()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<pad>", pad_token="<pad>", bos_token="<s>"
    )
    fast.chat_template = CHAT if chat else None
    fast.save_pretrained(folder)
    return fast


def config(**more):
    return transformers.LlamaConfig(
        vocab_size=len(WORDS), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64, pad_token_id=0,
        bos_token_id=1, eos_token_id=3, **more,
    )  # fmt: skip


def write(folder, kind, *, chat=False, head=None, architecture=None, **more):
    """A random model; `head` are tensors that stand beside those of its backbone."""
    torch.manual_seed(3)
    model = getattr(transformers, kind)(config(**more)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4.0)  # so that probabilities differ
    model.save_pretrained(folder)
    tokenizer = write_tokenizer(folder, chat)
    if head is not None:
        file = folder / "model.safetensors"
        tensors = {k: v for k, v in safetensors.load_file(file).items() if "lm_head" not in k}
        safetensors.save_file(tensors | head, file, {"format": "pt"})
    if architecture is not None:
        raw = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(raw | {"architectures": [architecture]}))
    return model, tokenizer


def ids_of(tokenizer, *pieces):
    """Each piece alone, put together behind the first token of the model."""
    return [1, *(k for piece in pieces for k in tokenizer.encode(piece, add_special_tokens=False))]


def candidate(text, status="end", index=0):
    return Candidate(PROBLEM.context(), text, status, text, index, len(text))


def score(verifier, candidates, mode="outcome"):
    work = [VerifyWork(candidates=(c,), problem=PROBLEM, mode=mode, seeds=[0]) for c in candidates]
    return [outcome.draws[0] for outcome in asyncio.run(verifier.score(work))]


def values(verifier, texts=TEXTS):
    return [draw.value for draw in score(verifier, [candidate(text) for text in texts])]


@pytest.fixture(scope="module")
def shepherd(tmp_path_factory):
    """A language model that writes + or - behind each tag."""
    folder = tmp_path_factory.mktemp("shepherd")
    return folder, *write(folder, "LlamaForCausalLM")


@pytest.fixture(scope="module")
def trl(tmp_path_factory):
    """A token classifier with two labels, read at newlines."""
    folder = tmp_path_factory.mktemp("trl")
    return folder, *write(folder, "LlamaForTokenClassification", num_labels=2)


def test_math_shepherd_s_labels_are_those_of_a_plain_pass(shepherd):
    folder, model, tokenizer = shepherd
    found = process.TransformersVerifier(folder, device="cpu")
    assert found.form == "tag"
    whole = ids_of(tokenizer, "C1+2-3 1+2=3 ки\n3-3=0 ки\nA0 ки")
    with torch.no_grad():
        logits = model(torch.tensor([whole])).logits[0]
    places = [k for k, token in enumerate(whole) if token == WORDS.index("ки")]
    expected = torch.softmax(logits[places][:, [6, 7]].double(), dim=-1)[:, 0].tolist()
    assert found.step_probs([candidate(TEXTS[0])])[0] == pytest.approx(expected, abs=1e-5)
    assert values(found)[0] == pytest.approx(expected[-1], abs=1e-5)


def test_a_token_classifier_is_read_at_newlines_as_trl_trains_it(trl):
    folder, model, tokenizer = trl
    found = process.TransformersVerifier(folder, device="cpu")
    assert found.form == "steps"
    whole = ids_of(tokenizer, "C1+2-3", "\n", "1+2=3", "\n", "3-3=1", "\n", "A1", "\n")
    with torch.no_grad():
        logits = model(torch.tensor([whole])).logits[0].double()
    places = [k for k, token in enumerate(whole) if token == WORDS.index("\n")][1:]
    expected = torch.softmax(logits[places], dim=-1)[:, 1].tolist()
    assert found.step_probs([candidate(TEXTS[1])])[0] == pytest.approx(expected, abs=1e-5)


def test_qwen_s_separators_and_two_layer_head(tmp_path):
    torch.manual_seed(5)
    head = {"score.0.weight": torch.randn(32, 32), "score.0.bias": torch.randn(32),
            "score.2.weight": torch.randn(2, 32), "score.2.bias": torch.randn(2)}  # fmt: skip
    model, tokenizer = write(
        tmp_path, "LlamaForCausalLM", chat=True, head=head,
        architecture="Qwen2ForProcessRewardModel",
    )  # fmt: skip
    found = process.TransformersVerifier(tmp_path, device="cpu")
    pieces = ["user", "C1+2-3", "<end>", "assistant", "1+2=3", "<extra_0>", "3-3=0", "<extra_0>",
              "A0", "<extra_0>"]  # fmt: skip
    whole = ids_of(tokenizer, *pieces)[1:]
    with torch.no_grad():
        hidden = model.model(torch.tensor([whole])).last_hidden_state[0]
        hidden = hidden[[k for k, token in enumerate(whole) if token == 2]]
        inner = torch.relu(hidden @ head["score.0.weight"].T + head["score.0.bias"])
        logits = (inner @ head["score.2.weight"].T + head["score.2.bias"]).double()
    expected = torch.softmax(logits, dim=-1)[:, 1].tolist()
    assert found.step_probs([candidate(TEXTS[0])])[0] == pytest.approx(expected, abs=1e-5)


def test_a_value_head_gives_a_sigmoid(tmp_path):
    torch.manual_seed(6)
    head = {"v_head.summary.weight": torch.randn(1, 32), "v_head.summary.bias": torch.randn(1)}
    model, tokenizer = write(
        tmp_path, "LlamaForCausalLM", head=head, architecture="Qwen2ForPrmModel"
    )
    found = process.TransformersVerifier(tmp_path, device="cpu")
    whole = ids_of(tokenizer, "C1+2-3", "\n", "1+2=4", "\n", "4-3=1", "\n")
    with torch.no_grad():
        last = model.model(torch.tensor([whole])).last_hidden_state[0, -1]
        logit = (last @ head["v_head.summary.weight"][0] + head["v_head.summary.bias"]).item()
    assert values(found)[2] == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-5)


@pytest.mark.parametrize("chat", [False, True])
def test_an_outcome_model_is_read_at_the_last_token(tmp_path, chat):
    model, tokenizer = write(tmp_path, "LlamaForSequenceClassification", num_labels=1, chat=chat)
    found = process.TransformersVerifier(tmp_path, device="cpu")
    assert found.form == "outcome"
    for text, value in zip(TEXTS, values(found), strict=True):
        plain = ids_of(tokenizer, "C1+2-3", "\n", text)
        talk = ids_of(tokenizer, "user", "C1+2-3", "<end>", "assistant", text, "<end>")[1:]
        with torch.no_grad():
            reward = model(torch.tensor([talk if chat else plain])).logits[0, 0].item()
        assert value == pytest.approx(1 / (1 + math.exp(-reward)), abs=1e-5)


@pytest.mark.parametrize(
    ("aggregate", "of"),
    [("last", lambda p: p[-1]), ("min", min), ("prod", math.prod),
     ("mean", lambda p: sum(p) / len(p))],
)  # fmt: skip
def test_step_probabilities_are_put_together_as_asked(trl, aggregate, of):
    found = process.TransformersVerifier(trl[0], aggregate=aggregate, device="cpu")
    (steps,) = found.step_probs([candidate(TEXTS[0])])
    assert len(steps) == 3
    assert values(found)[0] == pytest.approx(of(steps), abs=1e-5)


def test_what_candidates_share_is_read_once_and_equal_texts_too(trl):
    found = process.TransformersVerifier(trl[0], device="cpu")
    draws = score(found, [candidate(text) for text in TEXTS + TEXTS])
    prompt = 1 + len("C1+2-3\n")
    # 1+2= is common to all, and is read with the prompt
    rests = sum(len(text) - 4 for text in TEXTS)
    assert found.reader.read_tokens == prompt + 4 + rests
    assert [draw.output_tokens for draw in draws[:4]] == [prompt + len(text) for text in TEXTS]


def test_prefixes_are_scored_and_what_cannot_be_is_not(trl, shepherd):
    found = process.TransformersVerifier(trl[0], device="cpu")
    whole, part = score(found, [candidate(TEXTS[0]), candidate("1+2=3\n", "step")], "prefix")
    assert part.value == pytest.approx(found.step_probs([candidate(TEXTS[0])])[0][0], abs=1e-6)
    assert math.isnan(values(found, ["\n\n"])[0])
    assert math.isnan(values(found, ["1" * 70])[0])  # beyond the window of 64
    tagged = process.TransformersVerifier(shepherd[0], device="cpu")
    assert math.isnan(values(tagged, ["1+2=3 ки\n"])[0])  # spells the tag itself


def test_studies_name_it_by_its_folder(trl):
    found = make_verifier(f"transformers:{trl[0]}")
    assert found.name == f"transformers:{trl[0]}"
    assert found.fingerprint == process.TransformersVerifier(trl[0]).fingerprint
    assert found.fingerprint != process.TransformersVerifier(trl[0], aggregate="min").fingerprint


STUDY = """
budgets = [4]
[[models]]
name = "tiny-0.2m"
max_tokens = 40
[[tasks]]
name = "chain"
problems = 3
levels = [1]
[[strategies]]
name = "best_of_n"
verifier = "prm"
[[strategies]]
name = "beam"
m = 2
verifier = "transformers:{folder}"
[[verifiers]]
name = "prm"
model = "transformers:{folder}"
aggregate = "min"
"""


def test_a_study_charges_the_tokens_that_it_reads(trl, tmp_path):
    study = Study(parse_study(STUDY.format(folder=trl[0])), tmp_path)
    assert study.verifiers["prm"].name == "prm"
    progress = study.run()
    assert (progress.runs_done, progress.runs_failed) == (6, 0)
    with Ledger(tmp_path / "ledger.db", read_only=True) as ledger:
        charged = {row.run: row.charged.verifier_tokens for row in ledger.answers()}
    assert sum(tokens > 0 for tokens in charged.values()) >= 4


def test_what_is_no_reward_model_is_refused(trl, tmp_path):
    with pytest.raises(UsageError, match=r"config\.json"):
        make_verifier(f"transformers:{tmp_path}")
    write(tmp_path, "LlamaModel")
    with pytest.raises(UsageError, match="must have a head"):
        process.TransformersVerifier(tmp_path)
    for wrong in ({"aggregate": "sum"}, {"form": "other"}, {"separator": "Ж"}, {"chat": True}):
        with pytest.raises(UsageError):
            process.TransformersVerifier(trl[0], **wrong)


class Suite(VerifierSuite):
    problem: ClassVar[Problem] = PROBLEM
    candidates: ClassVar[tuple[Candidate, ...]] = (
        *(candidate(text, index=k) for k, text in enumerate(TEXTS)),
        Candidate(Context((("user", "C7"),)), "7=7\n", "step", None, 4, 4),
        Candidate(PROBLEM.context(), "no reply", "failed", None, 5, 0),
    )

    @pytest.fixture(params=["tag", "steps"])
    def verifier(self, request, shepherd, trl):
        folder = shepherd[0] if request.param == "tag" else trl[0]
        return Rounded(process.TransformersVerifier(folder, device="cpu"))


class Rounded:
    """Scores to five digits: beyond that they depend on the shape of a batch."""

    def __init__(self, verifier):
        self._verifier = verifier

    def __getattr__(self, name):
        return getattr(self._verifier, name)

    async def score(self, work):
        outcomes = await self._verifier.score(work)
        for outcome in outcomes:
            for draw in outcome.draws:
                draw.value = round(draw.value, 5)
        return outcomes


class TestOutcomes(Suite):
    pass


class TestGroups(Suite):
    mode = "group"
