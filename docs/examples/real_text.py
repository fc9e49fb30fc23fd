"""Preference pairs and held-out judged responses from a judged-responses file, split by prompt and by system.

``python docs/examples/real_text.py JUDGED.jsonl[.gz] --output-dir DIRECTORY`` writes

- ``train.jsonl`` and ``validation.jsonl``: ``{prompt, chosen, rejected}``, two systems' responses to one prompt;
- ``held_out.jsonl``: judged responses of every system to prompts that are in neither;
- ``held_out_new_systems.jsonl``: of those, the responses of systems that are in neither, too.
"""

import argparse
import hashlib
import json
import random
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from evaluation.judged import JudgedRow, read_judged
from trainer.errors import AssayError
from trainer.files import write_atomically

SHARES = {"train": 0.7, "validation": 0.1, "held_out": 0.2}
EVERY_NEW_SYSTEM = 3
"""Every third system, in alphabetical order, is kept out of the pairs."""


def split_of(prompt_id: str) -> str:
    """Which split a prompt belongs to: by hash, so that it is the same whatever else is in the file."""
    position = int(hashlib.sha256(prompt_id.encode()).hexdigest()[:8], 16) / 2**32
    for split, share in SHARES.items():
        position -= share
        if position < 0:
            return split
    return "held_out"


def constant_systems(rows: Iterable[JudgedRow]) -> set[str]:
    """Systems that say the same to most prompts: they game the judge, and a pair with them teaches to."""
    responses = defaultdict(list)
    for row in rows:
        responses[row.clusters["policy"]].append(row.response)
    return {system for system, texts in responses.items() if len(set(texts)) < len(texts) / 2}


def preference_pairs(rows: Sequence[JudgedRow], per_prompt: int, margin: float, seed: int) -> list[dict[str, Any]]:
    """Up to ``per_prompt`` random pairs a prompt whose judgements differ by ``margin`` or more; no empty responses."""
    by_prompt = defaultdict(list)
    for row in rows:
        if row.response and row.response.strip():
            by_prompt[row.prompt_id].append(row)
    pairs = []
    for prompt_id, answers in by_prompt.items():
        clear = [pair for pair in combinations(answers, 2) if abs(_judgement(pair[0]) - _judgement(pair[1])) >= margin]
        for pair in random.Random(f"{seed}/{prompt_id}").sample(clear, min(per_prompt, len(clear))):
            rejected, chosen = sorted(pair, key=_judgement)
            pairs.append({"prompt": chosen.prompt, "chosen": chosen.response, "rejected": rejected.response})
    return pairs


def _judgement(row: JudgedRow) -> float:
    return row.oracles["judge"] or 0.0


def main(arguments: list[str] | None = None) -> int:
    """Write the files and say what is in them. Exit status: 0 done, 2 bad input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("judged", type=Path)
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--pairs-per-prompt", type=int, default=5)
    parser.add_argument("--margin", type=float, default=0.1, help="least difference of two responses' judgements")
    parser.add_argument("--held-out-prompts", type=int, help="at most so many; all unless said")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        rows = [row for _, row in read_judged(options.judged) if row.oracles.get("judge") is not None]
        constant = constant_systems(rows)
        rows = [row for row in rows if row.clusters["policy"] not in constant]
        systems = sorted({row.clusters["policy"] for row in rows})
        new = set(systems[::EVERY_NEW_SYSTEM])
        held_out = [row for row in rows if split_of(row.prompt_id) == "held_out"]
        prompts = set(list(dict.fromkeys(row.prompt_id for row in held_out))[: options.held_out_prompts])
        held_out = [row for row in held_out if row.prompt_id in prompts]
        contents: dict[str, Sequence[dict[str, Any]]] = {
            split: preference_pairs(
                [row for row in rows if split_of(row.prompt_id) == split and row.clusters["policy"] not in new],
                options.pairs_per_prompt,
                options.margin,
                options.seed,
            )
            for split in ("train", "validation")
        }
        contents["held_out"] = [row.model_dump(exclude_none=True) for row in held_out]
        contents["held_out_new_systems"] = [
            row.model_dump(exclude_none=True) for row in held_out if row.clusters["policy"] in new
        ]
        for name, lines in contents.items():
            path = options.output_dir / f"{name}.jsonl"
            write_atomically(path, "".join(json.dumps(line) + "\n" for line in lines))
            sys.stdout.write(f"{path}: {len(lines)} rows\n")
    except AssayError as error:
        sys.stderr.write(f"{error.detail}\n")
        return 2
    sys.stdout.write(f"left out, the same answer to every prompt: {', '.join(sorted(constant)) or 'none'}\n")
    sys.stdout.write(f"kept out of the pairs, {len(new)} of {len(systems)} systems: {', '.join(sorted(new))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
