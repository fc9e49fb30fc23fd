"""How often a scorer that knows nothing is told from chance, by how few prompts there are.

Scores and judgements are independent normal numbers, and two policies' judgements too. One line for each number of
prompts and of responses to each: the share of samples, in percent, whose 95 % interval excludes chance, a dash where
there is none.

    python -m benchmarks.few_prompts --samples 400
"""

import argparse
from collections import Counter

import numpy as np

from evaluation.statistics.bootstrap import Bootstrap
from evaluation.statistics.correlation import correlate
from evaluation.statistics.estimate import Estimate
from evaluation.statistics.measured import Frame
from evaluation.statistics.policy_wins import win_rates
from evaluation.wording import chance

DESIGNS = ((2, 2), (3, 4), (5, 8), (6, 8), (7, 2), (8, 8), (16, 8), (64, 8))
ASKED = ("pairwise_accuracy", "spearman_per_prompt", "kendall_per_prompt", "pearson_within")
SINGLE, SEVERAL = "win_rate_over_b, one response", "win_rate_over_b"


def estimates(prompts: int, k: int, draws: int, seed: int) -> dict[str, Estimate]:
    """What is estimated of one sample, by name."""
    made = np.random.default_rng([prompts, k, seed])
    score, judgement = made.standard_normal((2, prompts * k))
    clusters = np.repeat(np.arange(prompts), k)
    told = correlate(clusters, {"s": score}, {"o": judgement}, draws=draws, confidence=0.95, seed=seed, controls=())
    found = {each.statistic: each for each in told if each.statistic in ASKED}
    for name, each in ((SINGLE, 1), (SEVERAL, k)):
        rows = 2 * each * prompts
        [rate, _] = win_rates(
            np.repeat(np.arange(prompts), 2 * each),
            np.tile(np.repeat([0, 1], each), prompts),
            ("a", "b"),
            "o",
            made.standard_normal(rows),
            Bootstrap(prompts, None, draws, seed),
            Frame(None, "all", 0.95, "a bootstrap", rows, None),
        )
        found[name] = rate
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--draws", type=int, default=500)
    asked = parser.parse_args()
    names = (*ASKED, SINGLE, SEVERAL)
    print("prompts x responses | " + " | ".join(names))
    for prompts, k in DESIGNS:
        there, wrong = Counter[str](), Counter[str]()
        for seed in range(asked.samples):
            for name, each in estimates(prompts, k, asked.draws, seed).items():
                if each.lower is not None and each.upper is not None:
                    there[name] += 1
                    wrong[name] += not each.lower <= chance(each.statistic) <= each.upper
        cells = (f"{100 * wrong[name] / asked.samples:.1f}" if there[name] else "-" for name in names)
        print(f"{prompts} x {k} | " + " | ".join(cells), flush=True)


if __name__ == "__main__":
    main()
