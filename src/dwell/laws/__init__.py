"""Laws: declared in a dozen lines, fitted with bands by one engine, checked out of sample."""

from dwell.laws.allocation import Allocation, training_flops
from dwell.laws.answer_rates import AnswerRates, fit_answer_rates
from dwell.laws.answers import Crossing, crossover
from dwell.laws.comparison import Comparison, candidates, compare
from dwell.laws.curves import CurveFit, choose, fit_curve
from dwell.laws.declaration import Param, exponent, scale
from dwell.laws.engine import Options
from dwell.laws.fit import Errors, Estimate, Fit, HeldOut, Optimum, Prediction
from dwell.laws.isoflop import IsoFlop, isoflop, parabolas
from dwell.laws.law import Law
from dwell.laws.profiles import Profile
from dwell.laws.projection import ProjectedGrid, projected_grid
from dwell.laws.registry import LAWS, law_of
from dwell.laws.rows import by_largest
from dwell.laws.success_rates import Forecast, SuccessRates, fit_success_rates
from dwell.laws.verdict import IDENTIFIED, NOT_IDENTIFIED, WEAKLY_IDENTIFIED

__all__ = [
    "IDENTIFIED",
    "LAWS",
    "NOT_IDENTIFIED",
    "WEAKLY_IDENTIFIED",
    "Allocation",
    "AnswerRates",
    "Comparison",
    "Crossing",
    "CurveFit",
    "Errors",
    "Estimate",
    "Fit",
    "Forecast",
    "HeldOut",
    "IsoFlop",
    "Law",
    "Optimum",
    "Options",
    "Param",
    "Prediction",
    "Profile",
    "ProjectedGrid",
    "SuccessRates",
    "by_largest",
    "candidates",
    "choose",
    "compare",
    "crossover",
    "exponent",
    "fit_answer_rates",
    "fit_curve",
    "fit_success_rates",
    "isoflop",
    "law_of",
    "parabolas",
    "projected_grid",
    "scale",
    "training_flops",
]
