"""A page from the records of evaluations: what was found, figures, tables, rank lists.

Reads the folders that `jaxreid.records` describes, and logs of training where there are some.
"""

from jaxreid.report.summary import summary
from jaxreid.report.writing import write_report

__all__ = ["summary", "write_report"]
