"""The product-description world: prompts with constraints, compliant responses, and an exact checker.

PDD, the data set of GAPO (arXiv 2503.20194), was never released; this procedural world takes its place. A task is
kept as a structure and rendered late. Everything is a function of a seed, so any size can be generated, and the
checker is an oracle without noise.
"""

from trainer.data.product_world.checker import check, gold, satisfied
from trainer.data.product_world.perturbations import perturb_prompt, perturb_response
from trainer.data.product_world.sampling import Example, Split, sample_examples, sample_tasks
from trainer.data.product_world.task import Task, describe, render_prompt
from trainer.data.product_world.tokenizer import make_tokenizer
from trainer.data.product_world.worlds import LEVELS, WORLDS, WorldName

__all__ = [
    "LEVELS",
    "WORLDS",
    "Example",
    "Split",
    "Task",
    "WorldName",
    "check",
    "describe",
    "gold",
    "make_tokenizer",
    "perturb_prompt",
    "perturb_response",
    "render_prompt",
    "sample_examples",
    "sample_tasks",
    "satisfied",
]
