"""Writes a model folder as GGUF for llama.cpp: `python training/export_gguf.py FOLDER OUT.gguf`.

Needs the packages gguf and numpy alone.

llama.cpp rotates neighbouring pairs, Hugging Face the halves of a head, so the rows of query and
key matrices are reordered. The tokenizer is declared as `gpt2`: its byte alphabet writes newline
and space as other symbols, and it wants at least one merge, which is one that cannot occur.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))  # where dwell is not installed

from dwell.generators.tiny_weights import parse_safetensors

BYTE_SYMBOLS = {"\n": "\u010a", " ": "\u0120"}

NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
    "input_layernorm.weight": "attn_norm.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
}


def gguf_name(name: str) -> str:
    """Returns llama.cpp's name of a Hugging Face tensor."""
    if name in NAMES:
        return NAMES[name]
    layer, rest = name.removeprefix("model.layers.").split(".", 1)
    return f"blk.{layer}.{NAMES[rest]}"


def interleaved(weight: NDArray[np.generic], num_heads: int) -> NDArray[np.generic]:
    """Returns the rows of each head with entry i beside entry i + half."""
    rows, width = weight.shape
    halves = weight.reshape(num_heads, 2, rows // num_heads // 2, width)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows, width))


def export_gguf(folder: Path, out: Path) -> None:
    """Writes `out` from the Hugging Face folder of an embedded model."""
    config = json.loads((folder / "config.json").read_text())
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    special = {config["eos_token_id"], config["pad_token_id"]}
    writer = gguf.GGUFWriter(out, "llama")
    writer.add_name(folder.name)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([BYTE_SYMBOLS.get(token, token) for token in tokens])
    kinds = [
        gguf.TokenType.CONTROL
        if k in special
        else gguf.TokenType.UNUSED
        if token.startswith("<unused")
        else gguf.TokenType.NORMAL
        for k, token in enumerate(tokens)
    ]
    writer.add_token_types(kinds)
    writer.add_token_merges(["C G"])  # the prompts' openers, which never stand together
    writer.add_eos_token_id(config["eos_token_id"])
    # without one llama.cpp takes 11, which is GPT-2's and here the digit 8
    writer.add_bos_token_id(config["pad_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(False)
    for name, tensor in parse_safetensors((folder / "model.safetensors").read_bytes()).items():
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            tensor = interleaved(tensor, config["num_attention_heads"])
        kind = np.float32 if tensor.ndim == 1 else np.float16
        writer.add_tensor(gguf_name(name), np.ascontiguousarray(tensor.astype(kind)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    """Reads the command line and converts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    export_gguf(args.folder, args.out)
    print(f"wrote {args.out} ({args.out.stat().st_size} bytes)")


if __name__ == "__main__":
    main()
