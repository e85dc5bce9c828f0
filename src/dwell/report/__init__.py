"""The report of a study: one self-contained HTML page, made from results alone."""

from __future__ import annotations

from dwell.report.page import render

__all__ = ["render"]
