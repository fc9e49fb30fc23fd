"""Cost of sampling a temperature grid against ``generate`` called per temperature, side by side in one run.

    OMP_NUM_THREADS=1 python -m benchmarks.sampling [--model demo | --policy DIRECTORY] [--prompts 32] [--replicates 16]
                                                    [--tokens 48] [--tasks 1] [--rounds 3]

Both sample the same grid from the same policy, random unless a directory is named: ``generate`` one temperature's
prompts after the other with ``num_return_sequences``, in batches as large as ours. Rounds alternate in one process and
a round's ratio counts. Processor seconds, because other work may share the machine. Peak memory is measured once more,
in a process of its own for each side.
"""

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.memory import process_memory
from evaluation.generation.local import LocalSampler, cut_grid
from evaluation.generation.sampler import Question, grid
from trainer.data.product_world import make_tokenizer, render_prompt, sample_tasks
from trainer.generation.batches import ROWS_AT_ONCE
from trainer.generation.decoding import Decoding
from trainer.models.policy import Policy

TEMPERATURES = (0.0, 0.3, 0.5, 0.7, 1.0, 1.25, 1.5, 1.75, 2.0)
MODELS = {
    # vocabulary (that of the tokenizer if None), hidden, layers, heads
    "demo": (None, 96, 3, 4),
    "22m": (32_000, 384, 6, 6),
}


@dataclass(frozen=True)
class Work:
    """What both sides do."""

    model: str
    prompts: int
    replicates: int
    tokens: int
    tasks: int
    """How many tasks a prompt lists: a longer prompt."""
    directory: Path | None = None
    """Of a trained policy, in place of a random ``model``."""

    def questions(self) -> list[Question]:
        texts = [render_prompt(task) for task in sample_tasks("test", self.prompts * self.tasks, 0)]
        joined = [" ".join(texts[i * self.tasks : (i + 1) * self.tasks]) for i in range(self.prompts)]
        return [Question(str(i), text) for i, text in enumerate(joined)]

    def policy(self) -> Policy:
        """With random weights few responses end early, and few say the same: the most work there can be."""
        if self.directory:
            policy = Policy.load(self.directory)
            policy.model.eval()
            policy.tokenizer.padding_side = "left"
            return policy
        torch.manual_seed(0)
        tokenizer = make_tokenizer()
        tokenizer.padding_side = "left"
        vocabulary, hidden, layers, heads = MODELS[self.model]
        config = LlamaConfig(
            vocab_size=vocabulary or len(tokenizer),
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        return Policy(LlamaForCausalLM(config).eval(), tokenizer)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure sampling a temperature grid")
    parser.add_argument("--model", choices=MODELS, default="demo")
    parser.add_argument("--policy", type=Path)
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--replicates", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--tasks", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    work = Work(asked.model, asked.prompts, asked.replicates, asked.tokens, asked.tasks, asked.policy)
    ours, theirs = [], []
    policy = warmed(work)
    for _ in range(asked.rounds):
        ours.append(seconds(sample_grid, policy, work))
        theirs.append(seconds(generate_grid, policy, work))
        print(f"round: {ours[-1]:.2f} s and {theirs[-1]:.2f} s, ratio {theirs[-1] / ours[-1]:.2f}", flush=True)
    peaks = [peak(side, work) for side in (sample_grid, generate_grid)]

    lengths = [len(work.policy().format.prompt_ids(question.prompt)) for question in work.questions()]
    responses = len(grid([str(i) for i in range(work.prompts)], TEMPERATURES, work.replicates))
    name = asked.policy or work.model
    print(
        f"{name}: {responses:,} responses of at most {work.tokens} tokens to {work.prompts} prompts of"
        f" {statistics.mean(lengths):.0f} on average, {len(TEMPERATURES)} temperatures"
    )
    sides = ("all temperatures in one batch", "generate per temperature")
    for name, spent, memory in zip(sides, (ours, theirs), peaks, strict=True):
        print(
            f"{name:30}{statistics.median(spent):8.2f} s ({min(spent):.2f} to {max(spent):.2f}), peak"
            f" {memory:6.0f} MB above the start"
        )
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    spread = f"{min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} rounds"
    print(f"{'ratio':30}{statistics.median(ratios):8.2f}   ({spread})")


def sample_grid(policy: Policy, work: Work) -> None:
    """What a stress test does."""
    questions = work.questions()
    decoding = Decoding(0, work.tokens)
    sampler = LocalSampler(policy, decoding)
    cells = grid([question.prompt_id for question in questions], TEMPERATURES, work.replicates)
    for batch in cut_grid(questions, cells, policy.format, policy.max_tokens, decoding):
        for _ in sampler.sample(batch):
            pass


def generate_grid(policy: Policy, work: Work) -> None:
    """The plain way: one call of ``generate`` per temperature and batch of prompts."""
    prompts = sorted((policy.format.prompt_ids(question.prompt) for question in work.questions()), key=len)
    for temperature in TEMPERATURES:
        k = work.replicates if temperature else 1
        sampling = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
        for start in range(0, len(prompts), max(1, ROWS_AT_ONCE // k)):
            batch = policy.tokenizer.pad(
                {"input_ids": prompts[start : start + max(1, ROWS_AT_ONCE // k)]}, return_tensors="pt"
            )
            generated = policy.model.generate(**batch, **sampling, num_return_sequences=k, max_new_tokens=work.tokens)
            policy.tokenizer.batch_decode(generated[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)


def warmed(work: Work) -> Policy:
    """The policy, after what is done once in a process."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    policy = work.policy()
    for side in (sample_grid, generate_grid):
        side(policy, replace(work, prompts=1, replicates=1, tokens=2))
    return policy


def seconds(side: Callable[[Policy, Work], None], policy: Policy, work: Work) -> float:
    """Of a processor."""
    started = time.process_time()
    side(policy, work)
    return time.process_time() - started


def peak(side: Callable[[Policy, Work], None], work: Work) -> float:
    """By how many MB the peak of resident memory rises, in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (side, work))


def _peak(side: Callable[[Policy, Work], None], work: Work) -> float:
    policy = warmed(work)
    before = process_memory("VmHWM")
    side(policy, work)
    return (process_memory("VmHWM") - before) / 2**20


if __name__ == "__main__":
    main()
