"""A study as the text of a study file."""

from __future__ import annotations

import re
from typing import Any

from dwell.study_file import StudySpec


def to_toml(spec: StudySpec) -> str:
    """The study as TOML text that `parse_study` reads back."""
    lines = [f"title = {_value(spec.title)}", f"seed = {spec.seed}", f"streams = {spec.streams}"]
    lines += [f"budgets = {_value(spec.budgets)}", f"order = {_value(spec.order)}"]
    for name in ("limits", "spend_limits"):
        if table := getattr(spec, name):
            lines.append(f"{name} = {_value(table)}")
    for name in ("models", "tasks", "strategies", "judges", "verifiers"):
        for item in getattr(spec, name):
            lines += ["", f"[[{name}]]"]
            values = item.model_dump(exclude_defaults=True, exclude_none=True)
            lines += [f"{key} = {_value(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def _key(key: str) -> str:
    """A key of TOML, quoted where it has to be."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    if isinstance(value, dict):
        inner = ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items())
        return f"{{ {inner} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(item) for item in value)}]"
    return repr(value)
