"""Local checkpoints of several families: greedy texts are those of transformers itself."""

import asyncio
import json
import shutil

import pytest

from dwell.errors import GeneratorError, UsageError
from dwell.generators.tiny_models import MODELS
from dwell.protocols import GenerateWork
from dwell.records import Context, Problem
from dwell.requests import Generate

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")
local = pytest.importorskip("dwell.generators.transformers_generator")

pytestmark = pytest.mark.filterwarnings("default")

SIZES = {
    "vocab_size": 32, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128,
    "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None,
}  # fmt: skip
FAMILIES = {
    "grouped queries": ("LlamaConfig", SIZES),
    "sliding window": ("MistralConfig", SIZES | {"sliding_window": 8}),
    "windows in turns": ("Gemma3TextConfig", SIZES | {"sliding_window": 8, "head_dim": 16}),
    "learned positions": (
        "GPT2Config", {"vocab_size": 32, "n_embd": 64, "n_layer": 2, "n_head": 4,
                       "n_positions": 128, "pad_token_id": 0, "eos_token_id": 1}),
    "convolutions": (
        "Lfm2Config", SIZES | {"layer_types": ["conv", "full_attention", "conv"]}),
}  # fmt: skip
FAMILIES |= {
    "places of its own": (
        "MptConfig", {"vocab_size": 32, "d_model": 64, "n_layers": 2, "n_heads": 4,
                      "max_seq_len": 128, "pad_token_id": 0, "eos_token_id": 1}),
    "latent attention": (
        "DeepseekV3Config", SIZES | {
            "num_key_value_heads": 4, "q_lora_rank": 16, "kv_lora_rank": 16,
            "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 16,
            "first_k_dense_replace": 3}),
}  # fmt: skip
PROMPTS = ("C47+38*3-29\n", "C4\n", "C12*7-45+88-13*5+12+13\n", "C")


def write(folder, family, **sizes):
    torch.manual_seed(1)
    name, given = FAMILIES[family]
    config = getattr(transformers, name)(**given | sizes)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0 if parameter.dim() > 1 else 1.0)  # far from ties
    model.generation_config.suppress_tokens = [0, 1]
    model.save_pretrained(folder)


def character_tokenizer(folder):
    shutil.copy(MODELS["tiny-0.2m"].path / "tokenizer.json", folder)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>",
                "eos_token": "<eos>"}  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def ask(generator, *contexts, count=1, **asked):
    """The draws of each context, all asked together."""
    work = [
        GenerateWork(
            request=Generate(context, **asked), seeds=list(range(count)),
            indices=list(range(count)), problem=Problem(id="p", prompt="p"),
        )
        for context in contexts
    ]  # fmt: skip
    return [list(outcome.draws) for outcome in asyncio.run(generator.generate(work))]


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_texts_are_those_of_transformers(tmp_path, family):
    write(tmp_path, family)
    character_tokenizer(tmp_path)
    generator = local.TransformersGenerator(tmp_path, device="cpu")
    model, tokenizer = generator.checkpoint.model, generator.checkpoint.tokenizer
    for partial in ("", "47+38=85\n"):  # the second time what was kept is used
        contexts = [Context((("user", prompt),), partial) for prompt in PROMPTS]
        made = ask(generator, *contexts, count=3, temperature=0.0, max_tokens=16)
        for prompt, draws in zip(PROMPTS, made, strict=True):
            ids = tokenizer(prompt + partial, return_tensors="pt")
            whole = model.generate(**ids, do_sample=False, max_new_tokens=16)[0]
            text = tokenizer.decode(whole[ids["input_ids"].shape[1] :])
            assert [draw.text for draw in draws] == [text] * 3


def test_a_model_that_keeps_no_keys_and_values_is_refused(tmp_path):
    config = transformers.MambaConfig(
        vocab_size=32, hidden_size=32, num_hidden_layers=1, pad_token_id=0, eos_token_id=1,
        bos_token_id=1,
    )  # fmt: skip
    transformers.MambaForCausalLM(config).save_pretrained(tmp_path)
    character_tokenizer(tmp_path)
    with pytest.raises(UsageError, match="must be a decoder"):
        local.TransformersGenerator(tmp_path)


def test_a_model_that_looks_ahead_is_refused(tmp_path):
    FAMILIES["encoder"] = ("BertConfig", {k: SIZES[k] for k in list(SIZES)[:5]})
    try:
        write(tmp_path, "encoder")
    finally:
        del FAMILIES["encoder"]
    character_tokenizer(tmp_path)
    with pytest.raises(UsageError, match="must be a decoder"):
        local.TransformersGenerator(tmp_path, device="cpu")


@pytest.mark.parametrize(
    ("changed", "words"),
    [({"num_hidden_layers": 4}, "all weights"), ({"intermediate_size": 48}, "all weights"),
     ({"hidden_size": "many"}, "has not"), ({"num_attention_heads": 5}, "has not")],
)  # fmt: skip
def test_weights_that_are_not_there_are_not_made_up(tmp_path, changed, words):
    write(tmp_path, "grouped queries")
    character_tokenizer(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | changed))
    with pytest.raises(UsageError, match=words) as refused:
        local.TransformersGenerator(tmp_path, device="cpu")
    assert "\n" not in str(refused.value)


def test_damaged_weights_are_refused_in_one_line(tmp_path):
    write(tmp_path, "grouped queries")
    character_tokenizer(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(UsageError, match="Download it again") as refused:
        local.TransformersGenerator(tmp_path, device="cpu")
    assert "\n" not in str(refused.value)


def test_a_model_of_nan_is_no_generator(tmp_path):
    write(tmp_path, "grouped queries")
    character_tokenizer(tmp_path)
    generator = local.TransformersGenerator(tmp_path, device="cpu")
    generator.checkpoint.model.lm_head.weight.data.fill_(float("nan"))
    for temperature in (0.0, 1.0):
        with pytest.raises(GeneratorError, match="must be numbers"):
            ask(generator, Context((("user", "C4"),)), temperature=temperature)


def test_what_the_model_has_no_row_for_is_refused(tmp_path):
    write(tmp_path, "grouped queries", vocab_size=20)
    character_tokenizer(tmp_path)
    generator = local.TransformersGenerator(tmp_path, device="cpu")
    for prompt in (PROMPTS[0], ""):
        with pytest.raises(UsageError, match="a prompt must have"):
            ask(generator, Context((("user", prompt),)))


CHAT = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture(scope="module")
def talker(tmp_path_factory):
    """A random model with byte-level tokens of several characters, and a chat template."""
    folder = tmp_path_factory.mktemp("talker")
    inner = tokenizers.Tokenizer(tokenizers.models.BPE())
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = tokenizers.decoders.ByteLevel()
    texts = ["one two.\n\nthree four;\nfive é six.\n\nstop here", "two.\n\none three;\nfour"] * 9
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|end|>", "<|user|>", "<|assistant|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    inner.train_from_iterator(texts, trainer)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|end|>")
    fast.chat_template = CHAT
    write(folder, "grouped queries", vocab_size=320, eos_token_id=0, pad_token_id=None)
    fast.save_pretrained(folder)
    settings = {"eos_token_id": 0, "suppress_tokens": [1, 2], "temperature": 0.8, "top_k": 300}
    (folder / "generation_config.json").write_text(json.dumps(settings))
    return local.TransformersGenerator(folder, device="cpu", max_tokens=60)


HELLO = Context((("user", "one two"),))
#: Nearly all tokens alike, so that halts are common.
FLAT = {"temperature": 100.0, "max_tokens": 100}


def test_the_checkpoint_s_own_sampling_and_template_are_used(talker):
    assert {k: talker.info[k] for k in ("temperature", "top_k", "template")} == {
        "temperature": 0.8, "top_k": 300, "template": "chat"
    }  # fmt: skip
    tokens, start = talker._split(Context(HELLO.messages, " three"))
    decode = talker.checkpoint.tokenizer.decode
    assert decode(tokens) == "<|user|>one two<|end|><|assistant|> three"
    assert decode(tokens[start:]) == " three"
    assert not talker._drawable[[1, 2, 300, 319]].any()  # suppressed, or no token at all


def test_halts_inside_and_across_tokens_are_found(talker):
    steps = ask(talker, HELLO, count=40, until="step", **FLAT)[0]
    assert sum(draw.status == "step" for draw in steps) > 10
    for draw in steps:
        assert draw.text.count("\n") == (draw.status == "step")
        assert draw.text.endswith("\n") == (draw.status == "step")
    free = ask(talker, HELLO, count=40, **FLAT)[0]
    stopped = ask(talker, HELLO, count=40, **FLAT, stop=("e", "\n"))[0]
    for whole, cut in zip(free, stopped, strict=True):
        ends = [place for stop in "e\n" if (place := whole.text.find(stop)) >= 0]
        assert cut.text == (whole.text[: min(ends)] if ends else whole.text)
        assert cut.status == ("end" if ends else whole.status)


def test_statistics_have_an_entry_for_each_token_of_the_text(talker):
    draws = ask(talker, HELLO, count=40, **FLAT, stop=("e",), want=frozenset({"surprisal"}))[0]
    spell = talker._decoder.speller.text
    prompt = talker._split(HELLO)[0]
    whole = ask(talker, HELLO, count=40, **FLAT, want=frozenset({"surprisal"}))[0]
    for cut, free in zip(draws, whole, strict=True):
        count = len(cut.stats["surprisal"])
        assert count <= cut.output_tokens
        assert list(cut.stats["surprisal"]) == pytest.approx(
            list(free.stats["surprisal"][:count]), abs=1e-4
        )
    assert spell(prompt, []) == ""
