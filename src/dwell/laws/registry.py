"""All laws by name. A new file of laws is added here, in one line."""

from __future__ import annotations

from dwell.errors import UsageError
from dwell.laws import (
    architecture,
    batch_size,
    data_limits,
    emergence,
    interaction,
    learning_curves,
    schedules,
    testtime,
    theory,
    training,
    transfer,
    verifiers_and_votes,
)
from dwell.laws.law import Law

LAWS: dict[str, Law] = {
    law.name: law
    for module in (
        architecture, batch_size, data_limits, emergence, interaction, learning_curves, schedules,
        testtime,
        theory, training, transfer, verifiers_and_votes,
    )
    for law in module.LAWS
}  # fmt: skip


def law_of(name: str) -> Law:
    """A law by its name.

    Raises:
        UsageError: there is none.
    """
    if name not in LAWS:
        raise UsageError(f"`law` must be one of {', '.join(sorted(LAWS))}, but got {name!r}.")
    return LAWS[name]
