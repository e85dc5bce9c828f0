"""`Law`: a declaration together with what can be done with it.

law = LAWS["chinchilla"]
fit = law.fit({"N": params, "D": tokens, "loss": loss}).bootstrap(1000)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dwell.laws.declaration import Declared
from dwell.laws.engine import Options, fit_rows, mask_of
from dwell.laws.fit import Fit
from dwell.laws.rows import Rows, by_largest, input_of, rows_of
from dwell.laws.spaces import space_of
from dwell.laws.starts import Start


@dataclass(frozen=True, slots=True, kw_only=True)
class Law(Declared):
    """A scaling law; see `Declared` for its fields."""

    def rows(self, data: Mapping[str, Any], *, space: str | None = None, **columns: Any) -> Rows:
        """The checked rows of a table; `columns` are those of `rows_of`."""
        return rows_of(self, data, space_of(space or self.space), **columns)

    def fit(
        self,
        data: Mapping[str, Any] | Rows,
        *,
        x: Mapping[str, str] | None = None,
        y: str | None = None,
        weights: str | npt.ArrayLike | None = None,
        group: str | None = None,
        cluster: str | None = None,
        exclude: npt.ArrayLike | None = None,
        holdout: npt.ArrayLike | None = None,
        loss: str | None = None,
        delta: float | None = None,
        space: str | None = None,
        starts: str | int | Sequence[Start] = "grid",
        fixed: Mapping[str, float] | None = None,
        tied: Sequence[tuple[str, str]] = (),
        scale: str = "fixed",
        level: float = 0.9,
        seed: int = 0,
        spare: int = 0,
    ) -> Fit:
        """Fit the law to a table.

        Args:
            data: columns by name, `[n]` each; or rows that were checked before.
            x: input -> column, for columns that are not found by name.
            y: the target's column.
            weights: a column, or `[n]` numbers.
            group: column of groups, for parameters that each group has its own of.
            cluster: column of clusters, for cluster bootstraps.
            exclude: mask `[n]` of rows to leave out.
            holdout: mask `[n]` of rows to keep out of the fit and predict.
            loss: "huber" or "squares"; None takes the law's own.
            delta: Huber's threshold, in the units of the space.
            space: "log", "linear", "logit" or "loglog"; None takes the law's own.
            starts: "grid", a number of random starts, or a list of parameters by name.
            fixed: parameters held at values.
            tied: pairs of parameters that are equal.
            scale: "fixed", or "joint" to fit the residuals' scale too.
            level: coverage of intervals.
            seed: of random starts and samples; a fit is a function of its arguments.
            spare: distinct rows that must be there beyond the free parameters, for fits that are
                to be judged; 0 allows a curve through every point.

        Returns:
            `Fit`.

        Raises:
            UsageError: whatever is wrong with the table or the options, in one line.

        Examples:
            >>> from dwell.laws import LAWS
            >>> x = [1.0, 10.0, 100.0, 1000.0]
            >>> fit = LAWS["m2"].fit({"x": x, "loss": [2 + 3 * v**-0.5 for v in x]})
            >>> {name: round(value, 6) for name, value in fit.params.items()}
            {'eps': 2.0, 'beta': 3.0, 'c': 0.5}
        """
        if isinstance(data, Rows):
            rows = data
        else:
            rows = self.rows(
                data, space=space, x=x, y=y, weights=weights, group=group, cluster=cluster
            )
        keep = np.ones(len(rows), np.bool_)
        if exclude is not None:
            keep = ~np.asarray(exclude, np.bool_)
            rows = rows.take(keep)
        held = None if holdout is None else np.asarray(holdout, np.bool_)
        if held is not None and len(held) == len(keep):
            held = held[keep]
        options = Options(
            loss=loss,
            delta=delta,
            space=space,
            starts=starts,
            fixed=fixed or {},
            tied=tied,
            scale=scale,
            level=level,
            seed=seed,
            spare=spare,
        )
        return fit_rows(self, rows, options, holdout=mask_of(held, len(rows)))

    def holdout(
        self, data: Mapping[str, Any], over: str = "C", share: float = 0.2, **options: Any
    ) -> Fit:
        """Fit to the smaller rows and predict the larger ones.

        Args:
            data: columns by name.
            over: the input or column by which rows are small or large; C is 6 N D if it is none.
            share: of the rows to hold out, the largest.
            options: as for `fit`.

        Returns:
            `Fit` whose `errors` are in range and whose `holdout.errors` are out of it.
        """
        along = input_of(data, over, dict(options.get("x") or {}).get(over))
        return self.fit(data, holdout=by_largest(along, share), **options)
