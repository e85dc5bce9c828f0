"""Recorded texts as training data and as logs of other tools."""

from dwell.exports.choosing import Choice
from dwell.exports.exporting import Exported, export, open_source
from dwell.exports.guarding import Guard, chosen_questions
from dwell.exports.of_table import Reading
from dwell.exports.questions import Question, Sample, Source, Tally
from dwell.exports.rows import Options, rows_of
from dwell.exports.steps import Rollouts, steps_of, truth_of

__all__ = [
    "Choice",
    "Exported",
    "Guard",
    "Options",
    "Question",
    "Reading",
    "Rollouts",
    "Sample",
    "Source",
    "Tally",
    "chosen_questions",
    "export",
    "open_source",
    "rows_of",
    "steps_of",
    "truth_of",
]
