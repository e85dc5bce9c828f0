"""What the tests of the cost model share: an 8-billion-parameter shape, an H200, a workload."""

from dwell.cost import ModelShape, Workload, find_hardware

CONFIG = {
    "model_type": "qwen3",
    "num_hidden_layers": 36,
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 12288,
    "vocab_size": 151936,
    "tie_word_embeddings": False,
}
EIGHT = ModelShape.from_config(CONFIG)
H200 = find_hardware("h200")


def work(**changes):
    """Eight samples of 8192 tokens after a prompt of 512, with changes."""
    return Workload(**{"prompt_tokens": 512, "output_tokens": 8192, "samples": 8, **changes})
