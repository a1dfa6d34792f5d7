"""A page from the records of evaluations: what was found, figures, tables, rank lists.

Reads the folders that `jaxreid.records` describes, and logs of training where there are some:
`summarize(open_runs(folders))` computes once what sentences, tables and figures show.
"""

from jaxreid.report.findings import Finding, describe_findings
from jaxreid.report.runs import open_runs
from jaxreid.report.summary import Summary, summarize
from jaxreid.report.writing import write_report

__all__ = ["Finding", "Summary", "describe_findings", "open_runs", "summarize", "write_report"]
