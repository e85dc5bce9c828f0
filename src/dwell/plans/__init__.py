"""From recorded draws to a policy with a promise, and the file that carries both."""

from dwell.plans.artefact import Plan, load_plan
from dwell.plans.making import plan

__all__ = ["Plan", "load_plan", "plan"]
