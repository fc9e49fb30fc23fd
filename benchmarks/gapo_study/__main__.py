"""The toy-world study of GAPO as one command.

OMP_NUM_THREADS=1 python -m benchmarks.gapo_study [--size quick] [--seeds 3] [--processes 2]
    [--document docs/study-gapo.md]
"""

import sys

from benchmarks.gapo_study.arms import SIZES, steps_of_seed
from benchmarks.gapo_study.claims import OURS, PAPER
from benchmarks.gapo_study.measurements import read_measurements
from benchmarks.gapo_study.pictures import FIGURES
from benchmarks.gapo_study.tables import summary, tables
from benchmarks.study.command import main
from benchmarks.study.plan import Plan

PLAN = Plan(
    module="benchmarks.gapo_study",
    title="The toy-world study of GAPO",
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
