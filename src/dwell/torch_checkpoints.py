"""Local checkpoints in Hugging Face's format, loaded with torch and transformers.

What a generator and a verifier that run such a model share: the folder, where it runs, the hash
that names it, its tokenizer and what it costs. Nothing is ever fetched from a hub, and code that
lies in a folder is never run. Importing this module needs the extra `transformers`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from dwell.cost import ModelShape
from dwell.errors import MissingExtraError, UsageError

try:
    import torch
    import transformers
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError
    from transformers.cache_utils import DynamicCache
except ImportError as error:
    raise MissingExtraError(
        "a local checkpoint", "torch or transformers", "transformers"
    ) from error

#: Declared speed of modelled seconds, an order of magnitude: on a CPU that of the embedded models.
MODELLED_FLOPS_PER_SECOND = {"cpu": 40e9, "cuda": 30e12}
DTYPES = ("float32", "bfloat16", "float16")

#: What loading a folder raises that is damaged, incomplete, or not for this machine.
_UNUSABLE = (
    OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, ImportError,
    RuntimeError,  # torch.OutOfMemoryError too
    SafetensorError, StrictDataclassError,
)  # fmt: skip
#: Relative difference of two readings of a text that is mere rounding.
_OFF = {torch.float32: 1e-4, torch.bfloat16: 0.2, torch.float16: 0.2}
_SMALL = 1 << 28  # bytes of a file that is hashed whole
_BLOCK = 1 << 18
_BLOCKS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a model's tokens cost.

    Attributes:
        shape: its sizes; None for a family that `dwell.cost` does not know, where a token costs
            two operations a parameter.
        num_parameters: all of them.
        flops_per_second: declared speed of modelled seconds.
    """

    shape: ModelShape | None
    num_parameters: int
    flops_per_second: float

    def read(self, tokens: int) -> float:
        """FLOPs of reading a prompt or a text of this many tokens."""
        if self.shape is None:
            return 2.0 * self.num_parameters * tokens
        return float(self.shape.prefill_flops(tokens))

    def written(self, prompt_tokens: int, counts: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """`[B]` FLOPs of writing `counts` `[B]` tokens after a prompt."""
        if self.shape is None:
            return 2.0 * self.num_parameters * counts
        return self.shape.decode_flops(prompt_tokens, counts)

    @property
    def seconds_per_token(self) -> float:
        """Modelled seconds of reading a token: ``2 P / R``."""
        weights = self.num_parameters if self.shape is None else self.shape.product_weights
        return 2.0 * weights / self.flops_per_second


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A loaded model and what belongs to it.

    Attributes:
        folder: where it lies.
        model: the network, in evaluation mode.
        tokenizer: its tokenizer.
        device: where it runs.
        fingerprint: SHA-256 of its files and number type, in hex.
        costs: what its tokens cost.
        window: longest context in tokens; None = no limit is known.
    """

    folder: Path
    model: Any
    tokenizer: Any
    device: Any
    fingerprint: str
    costs: Costs
    window: int | None


def load_checkpoint(
    path: str | Path,
    kind: str,
    *,
    device: str | None = None,
    dtype: str | None = None,
    flops_per_second: float | None = None,
) -> Checkpoint:
    """A checkpoint from its folder.

    Args:
        path: the folder.
        kind: the class of transformers that loads it, such as "AutoModelForCausalLM".
        device: "cpu", "cuda", "cuda:1"; None = a GPU if there is one.
        dtype: one of `DTYPES`; None = float32 on a CPU, the checkpoint's own elsewhere.
        flops_per_second: declared speed; None = that of `MODELLED_FLOPS_PER_SECOND`.

    Raises:
        UsageError: no such folder or device, an unknown number type, or a model of another kind:
            one that transformers cannot load so, whose weights are not all there, or that is no
            decoder with a cache.
    """
    folder = checkpoint_folder(path)
    where = _device(device)
    if dtype is not None and dtype not in DTYPES:
        raise UsageError(f"`dtype` must be one of {', '.join(DTYPES)}, but got {dtype!r}.")
    number = getattr(torch, dtype) if dtype else torch.float32 if where.type == "cpu" else "auto"
    with loading(folder, "a tokenizer"):
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    with loading(folder, kind), _quiet():
        model, found = getattr(transformers, kind).from_pretrained(
            folder, dtype=number, local_files_only=True, trust_remote_code=False,
            output_loading_info=True, ignore_mismatched_sizes=True,
        )  # fmt: skip
        model = model.to(where).eval().requires_grad_(False)
    _check_weights(folder, model, found)
    _check_decoder(folder, model)
    return Checkpoint(
        folder=folder,
        model=model,
        tokenizer=tokenizer,
        device=where,
        fingerprint=fingerprint(folder, str(model.dtype)),
        costs=_costs(folder, model, where, flops_per_second),
        window=_window(model, tokenizer),
    )


def checkpoint_folder(path: str | Path) -> Path:
    """The folder of a checkpoint.

    Raises:
        UsageError: there is no `config.json` in it.
    """
    folder = Path(path).expanduser()
    if not (folder / "config.json").is_file():
        raise UsageError(
            f"A local checkpoint must be a folder with a config.json, but got {str(path)!r}. "
            "Download the model first, for example with `hf download NAME --local-dir FOLDER`."
        )
    return folder


def fingerprint(folder: Path, *also: str) -> str:
    """SHA-256 over a folder's configuration, tokenizer and weights, and over further texts.

    Of a file beyond 256 MiB the size and 256 blocks of 256 KiB, evenly spaced, are read: tuning a
    model changes its matrices everywhere, and hashing all of a large one would take longer than
    loading it.
    """
    digest = hashlib.sha256(repr(also).encode())
    names = ("*.json", "*.jinja", "*.safetensors", "*.bin", "*.model", "*.txt")
    for file in sorted({found for name in names for found in folder.glob(name)}):
        size = file.stat().st_size
        digest.update(f"{file.name}:{size}".encode())
        with file.open("rb") as source:
            for begin in _starts(size):
                source.seek(begin)
                digest.update(source.read(_BLOCK))
    return digest.hexdigest()


def chunks(lengths: Sequence[int], most_tokens: int) -> Iterator[range]:
    """Runs of ascending `lengths` that fit `most_tokens` when padded to their longest."""
    begin = 0
    for end in range(1, len(lengths) + 1):
        if end == len(lengths) or (end - begin + 1) * lengths[end] > most_tokens:
            yield range(begin, end)
            begin = end


@contextmanager
def loading(folder: Path, what: str) -> Iterator[None]:
    """Turns what loading from a folder raises into one line."""
    try:
        yield
    except _UNUSABLE as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UsageError(
            f"A local checkpoint must have what transformers {transformers.__version__} can load "
            f"as {what}, but {folder} has not ({reason}). Download it again, or name another."
        ) from error


def _check_weights(folder: Path, model: Any, found: Mapping[str, Any]) -> None:
    """Refuses a model with weights that were not in its folder: they would be random numbers."""
    missing = sorted(found["missing_keys"]) + sorted(key for key, *_ in found["mismatched_keys"])
    if missing:
        raise UsageError(
            f"A local checkpoint must have all weights of its model, but {folder} has not (in the "
            f"shape of its config.json) {missing[0]} and {len(missing) - 1} others of "
            f"{type(model).__name__}. Download it again, or name another."
        )


def _check_decoder(folder: Path, model: Any) -> None:
    """Refuses a model that reads two tokens one by one unlike both at once.

    So do encoders, whose states depend on what comes after, and models that keep what they have
    read elsewhere than in transformers' cache.
    """
    ids = torch.tensor([[0, 0], [0, 1]], device=model.device)
    caches = [DynamicCache(config=model.config) for _ in range(2)]
    try:
        whole, first, second = (
            model.base_model(input_ids=part, past_key_values=cache, use_cache=True)[0].float()
            for part, cache in ((ids, caches[0]), (ids[:, :1], caches[1]), (ids[:, 1:], caches[1]))
        )
        off = (torch.cat([first, second], dim=1) - whole).norm() / whole.norm()
        same = caches[1].get_seq_length() == 2 and not off > _OFF.get(model.dtype, 0.2)
    except (TypeError, ValueError, AttributeError):  # a cache of its own, or none
        same = False
    if not same:
        raise UsageError(
            "A local model must be a decoder that keeps what it has read in transformers' cache, "
            f"but {folder} is {type(model).__name__}. Choose another model."
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without a progress bar, and without a report of weights that are not the backbone's."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _starts(size: int) -> list[int]:
    """Where the blocks of a file begin that are hashed."""
    if size <= _SMALL:
        return list(range(0, size, _BLOCK))
    return [(size - _BLOCK) * k // (_BLOCKS - 1) for k in range(_BLOCKS)]


def _device(name: str | None) -> Any:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(name)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise UsageError(
            f"`device` must be one that this machine has, but got {name!r}: {first}"
        ) from error
    return found


def _costs(folder: Path, model: Any, device: Any, flops_per_second: float | None) -> Costs:
    try:
        shape = ModelShape.from_file(folder)
    except UsageError:  # a family without a cost model still runs
        shape = None
    speed = flops_per_second
    if speed is None:
        speed = MODELLED_FLOPS_PER_SECOND.get(device.type, 40e9)
    if not 0.0 < speed < math.inf:
        raise UsageError(f"`flops_per_second` must be above 0, but got {speed}.")
    count = sum(parameter.numel() for parameter in model.parameters())
    return Costs(shape=shape, num_parameters=count, flops_per_second=speed)


def _window(model: Any, tokenizer: Any) -> int | None:
    found = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if isinstance(found, int) and found > 0:
        return found
    longest = tokenizer.model_max_length  # transformers writes 1e30 for "no limit is known"
    return int(longest) if longest < 1 << 24 else None
