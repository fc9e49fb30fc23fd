"""The results of the GANPO paper (arXiv 2601.22083), a file each."""

from evaluation.reproduction.result import Result
from evaluation.reproduction.results import figure3, figure4, figure5, table1, table2, table3, table4

RESULTS: dict[str, Result] = {
    each.RESULT.key: each.RESULT for each in (figure3, figure4, figure5, table1, table2, table3, table4)
}
