"""What a report finds, for a terminal."""

from collections.abc import Sequence
from pathlib import Path

from jaxreid.report.findings import Finding, findings
from jaxreid.report.grouping import group_runs
from jaxreid.report.runs import open_runs

__all__ = ["summary"]


def summary(runs: Sequence[Path]) -> list[Finding]:
    """Says in plain words what a report of the same runs says first.

    Args:
        runs: folders that `jaxreid evaluate` wrote; the first one is what others are compared with.

    Returns:
        Findings on each run, then on pairs of runs.

    Raises:
        InputError: a run is missing, empty, damaged or of another schema.
    """
    opened = open_runs(runs)
    return findings(group_runs(opened), [run.label for run in opened])
