"""The toy-world study of GANPO as one command.

OMP_NUM_THREADS=1 python -m benchmarks.ganpo_study [--size quick] [--seeds 5] [--processes 2]
    [--document docs/study.md]
"""

import sys

from benchmarks.ganpo_study.arms import SIZES, steps_of_seed
from benchmarks.ganpo_study.claims import OURS, PAPER
from benchmarks.ganpo_study.measurements import read_measurements
from benchmarks.ganpo_study.pictures import FIGURES
from benchmarks.ganpo_study.tables import summary, tables
from benchmarks.study.command import main
from benchmarks.study.plan import Plan

PLAN = Plan(
    module="benchmarks.ganpo_study",
    title="The toy-world study of GANPO",
    sizes=SIZES,
    steps_of_seed=steps_of_seed,
    read=read_measurements,
    paper=PAPER,
    ours=OURS,
    tables=tables,
    figures=FIGURES,
    summary=summary,
)

if __name__ == "__main__":
    sys.exit(main(PLAN))
