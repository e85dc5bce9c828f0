"""Writes a policy as an ordinary Hugging Face folder with exactly rounded F16 weights.

Every linear weight is stored as `q * 2**e` (int8 `q`, one `e` per output row), which F16 holds
exactly, so the runtime recovers code and exponent from the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model import CONTEXT, HEAD_DIM, NORM_EPSILON, ROPE_THETA, Policy, Shape, quantise_rows
from vocabulary import EOS_ID, EOS_TOKEN, PAD_ID, PAD_TOKEN, TOKENS, VOCABULARY_SIZE

DTYPE_NAMES = {"float16": "F16", "float32": "F32"}


def write_safetensors(
    path: Path, tensors: Mapping[str, NDArray[np.generic]], metadata: Mapping[str, str]
) -> None:
    """Writes the safetensors layout: 8-byte header length, JSON header, raw little-endian data."""
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    offset = 0
    for name, tensor in tensors.items():
        header[name] = {
            "dtype": DTYPE_NAMES[tensor.dtype.name],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + tensor.nbytes],
        }
        offset += tensor.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            file.write(np.ascontiguousarray(tensor).tobytes())


def policy_tensors(policy: Policy) -> dict[str, NDArray[np.float16]]:
    """Returns the Hugging Face names and F16 tensors of a policy, rounded to the code grid."""
    d, f = policy.shape.width, policy.shape.hidden
    tensors = {"model.embed_tokens.weight": policy.embed.detach()}
    qkv, gate_up = quantise_rows(policy.qkv.detach()), quantise_rows(policy.gate_up.detach())
    out, down = quantise_rows(policy.out.detach()), quantise_rows(policy.down.detach())
    for k in range(policy.shape.layers):
        prefix = f"model.layers.{k}"
        for j, part in enumerate("qkv"):
            tensors[f"{prefix}.self_attn.{part}_proj.weight"] = qkv[k, j * d : (j + 1) * d]
        tensors[f"{prefix}.self_attn.o_proj.weight"] = out[k]
        tensors[f"{prefix}.mlp.gate_proj.weight"] = gate_up[k, :f]
        tensors[f"{prefix}.mlp.up_proj.weight"] = gate_up[k, f:]
        tensors[f"{prefix}.mlp.down_proj.weight"] = down[k]
        tensors[f"{prefix}.input_layernorm.weight"] = torch.ones(d)
        tensors[f"{prefix}.post_attention_layernorm.weight"] = torch.ones(d)
    tensors["model.norm.weight"] = torch.ones(d)
    tensors["lm_head.weight"] = quantise_rows(policy.head.detach())
    exported = {name: tensor.to(torch.float16) for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        if name != "model.embed_tokens.weight":
            assert torch.equal(exported[name].float(), tensor), f"{name} is not exact in F16"
    return {name: tensor.contiguous().numpy() for name, tensor in exported.items()}


def config_of(shape: Shape) -> dict[str, object]:
    """Returns the `LlamaForCausalLM` configuration."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCABULARY_SIZE,
        "hidden_size": shape.width,
        "intermediate_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "head_dim": HEAD_DIM,
        "max_position_embeddings": CONTEXT,
        "rope_theta": ROPE_THETA,
        "rms_norm_eps": NORM_EPSILON,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "pad_token_id": PAD_ID,
        "eos_token_id": EOS_ID,
        "bos_token_id": None,
        "torch_dtype": "float16",
    }


def tokenizer_json() -> dict[str, object]:
    """Returns a `tokenizers` description: one token a character, special tokens apart."""
    special = [
        {
            "id": k,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for k, token in enumerate(TOKENS)
        if token in (PAD_TOKEN, EOS_TOKEN)
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"Regex": "[\\s\\S]"},
            "behavior": "Isolated",
            "invert": False,
        },
        "post_processor": None,
        "decoder": {"type": "Fuse"},
        "model": {
            "type": "WordLevel",
            "vocab": {token: k for k, token in enumerate(TOKENS)},
            "unk_token": PAD_TOKEN,
        },
    }


def export_policy(policy: Policy, folder: Path, facts: Mapping[str, object]) -> None:
    """Writes weights, configuration, tokenizer and the facts of the training run."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = policy_tensors(policy)
    write_safetensors(folder / "model.safetensors", tensors, {"format": "pt"})
    parameters = sum(tensor.size for tensor in tensors.values())
    documents: dict[str, object] = {
        "config.json": config_of(policy.shape),
        "tokenizer.json": tokenizer_json(),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "pad_token": PAD_TOKEN,
            "eos_token": EOS_TOKEN,
            "unk_token": PAD_TOKEN,
            "model_max_length": CONTEXT,
            "clean_up_tokenization_spaces": False,
        },
        "generation_config.json": {
            "do_sample": True,
            "temperature": 1.0,
            "eos_token_id": EOS_ID,
            "pad_token_id": PAD_ID,
            "max_new_tokens": 150,
            # tokens that no training text has
            "suppress_tokens": [
                k
                for k, token in enumerate(TOKENS)
                if token == PAD_TOKEN or token.startswith("<unused")
            ],
        },
        "training.json": {"parameters": parameters, **facts},
    }
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document, indent=1) + "\n")
