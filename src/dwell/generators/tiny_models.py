"""The embedded models that ship with the package: where they are and how large."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from dwell.cost import ModelShape
from dwell.errors import UsageError

_FOLDER = Path(__file__).parent.parent / "models"


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """One of the models in the package.

    Attributes:
        name: what studies call it.
    """

    name: str

    @property
    def path(self) -> Path:
        """Its folder, an ordinary Hugging Face checkpoint."""
        return _FOLDER / self.name

    @property
    def num_parameters(self) -> int:
        """Its number of parameters, from its configuration."""
        return model_shape(self.path).num_parameters

    @property
    def num_bytes(self) -> int:
        """Size of its weights on disk."""
        return (self.path / "model.safetensors").stat().st_size


#: By name, smallest first.
MODELS: Mapping[str, PackagedModel] = MappingProxyType(
    {name: PackagedModel(name) for name in ("tiny-0.2m", "tiny-0.8m", "tiny-3m")}
)

#: The fine-tuned backbone of the weak process verifier.
WEAK_VERIFIER = PackagedModel("weak-verifier")


def model_folder(name_or_path: str | Path) -> Path:
    """The folder of a packaged model, or of another exported one.

    Raises:
        UsageError: neither a packaged model nor a folder with a `config.json`.
    """
    name = str(name_or_path)
    folder = MODELS[name].path if name in MODELS else Path(name_or_path)
    if not (folder / "config.json").is_file():
        raise UsageError(
            f"an embedded model must be one of {', '.join(MODELS)} or the folder of an exported "
            f"one, but got {name!r}."
        )
    return folder


def model_shape(folder: Path) -> ModelShape:
    """The shape in a model folder's configuration, for its cost."""
    return ModelShape.from_config(json.loads((folder / "config.json").read_text()))
