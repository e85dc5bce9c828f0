"""From curves to results: points with intervals, laws, levels, pairs, frontier and advice."""

from dwell.results.assembly import analyse, assemble, stamp, to_json, versions

__all__ = ["analyse", "assemble", "stamp", "to_json", "versions"]
