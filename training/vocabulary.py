"""The 32 symbols of the embedded models, one character each, and their token ids."""

from __future__ import annotations

PAD_ID = 0
EOS_ID = 1
PAD_TOKEN = "<pad>"
EOS_TOKEN = "<eos>"
CHARACTERS = "\n0123456789+-*=,> ACGW"
VOCABULARY_SIZE = 32

TOKENS: list[str] = [PAD_TOKEN, EOS_TOKEN, *CHARACTERS]
TOKENS += [f"<unused{k}>" for k in range(VOCABULARY_SIZE - len(TOKENS))]

ID_OF: dict[str, int] = {token: k for k, token in enumerate(TOKENS)}
NEWLINE_ID = ID_OF["\n"]


def encode(text: str) -> list[int]:
    """Returns one token id a character."""
    return [ID_OF[character] for character in text]


def decode(ids: list[int]) -> str:
    """Returns the text of token ids, padding and the end token left out."""
    return "".join(TOKENS[k] for k in ids if k > EOS_ID)
