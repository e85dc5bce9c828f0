"""A config's fields by their common names, whatever its family calls them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dwell.cost.families import FAMILIES, Family
from dwell.errors import UsageError

#: Other names of the same field, in older families.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "hidden_size": ("n_embd", "d_model"),
    "num_hidden_layers": ("n_layer", "num_layers"),
    "num_attention_heads": ("n_head",),
    "intermediate_size": ("n_inner", "ffn_dim", "ffn_hidden_size"),
    "max_position_embeddings": ("n_positions",),
    "num_experts": ("num_local_experts", "n_routed_experts"),
    "n_shared_experts": ("num_shared_experts",),
    "num_experts_per_tok": ("experts_per_token",),
    "mamba_expand": ("expand",),
    "mamba_d_state": ("state_size", "ssm_state_size"),
    "mamba_d_conv": ("conv_kernel", "conv_kernel_size"),
    "mamba_dt_rank": ("time_step_rank",),
    "mamba_n_heads": ("n_mamba_heads", "mamba_num_heads", "num_heads"),
    "mamba_d_head": ("mamba_head_dim", "mamba_headdim"),
    "mamba_n_groups": ("mamba_ngroups", "n_groups"),
}


class Fields:
    """A config's fields by their common names, with errors that name what is missing."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        self.type = str(config.get("model_type") or "")
        if config.get("is_encoder_decoder"):
            raise UsageError(
                "a model must be a decoder to be costed, but got an encoder with a decoder "
                f"({self.type or 'unnamed'}). Cost its decoder as a model of its own."
            )
        if self.type not in FAMILIES:
            raise UsageError(
                f"`model_type` must be a family that can be costed, but got {self.type!r}. "
                f"Known are {', '.join(sorted(filter(None, FAMILIES)))}; if its layers are "
                "plain Llama layers, write model_type = 'llama' in a copy of the config."
            )

    @property
    def family(self) -> Family:
        """What this family's configs leave unsaid."""
        return FAMILIES[self.type]

    def get(self, name: str) -> Any:
        """A field under any of its names; None where it is missing."""
        names = (name, *ALIASES.get(name, ()))
        return next((self._config[n] for n in names if self._config.get(n) is not None), None)

    def needed(self, name: str) -> Any:
        """A field that must be there.

        Raises:
            UsageError: it is missing.
        """
        value = self.get(name)
        if value is None:
            raise UsageError(
                f"a model config must have `{name}`, but this one"
                f"{f' ({self.type})' if self.type else ''} lacks it. Pass the fields of the "
                "checkpoint's config.json."
            )
        return value

    def size(self, name: str, default: int | None = None) -> int:
        """A whole number.

        Raises:
            UsageError: it is missing and has no default, or is no whole number >= 0.
        """
        value = self.get(name)
        if value is None:
            value = self.needed(name) if default is None else default
        if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
            raise UsageError(f"`{name}` must be a whole number, but got {value!r} in the config.")
        return int(value)

    def flag(self, name: str, default: bool = False) -> bool:
        """A yes or no."""
        value = self.get(name)
        return default if value is None else bool(value)

    @property
    def num_layers(self) -> int:
        """Layers L."""
        listed = self.get("hybrid_override_pattern") or self.get("layers_block_type") or ()
        return self.size("num_hidden_layers", len(listed) or None)

    @property
    def head_size(self) -> int:
        """Head size h."""
        if self.type == "nemotron_h":
            return int(self.get("attention_head_dim") or self.needed("head_dim"))
        heads = self.size("num_attention_heads")
        return self.size("head_dim", self.size("hidden_size") // heads)
