"""Speed of sampling a temperature grid against ``generate`` called per temperature, side by side in one run.

    OMP_NUM_THREADS=1 python benchmarks/sampling.py [--prompts 64] [--replicates 16] [--tokens 48] [--rounds 3]

Both sample the same grid from the same random policy of the demonstration's shape. ``generate`` gets a temperature's
prompts with ``num_return_sequences`` in batches as large as ours. Rounds alternate, medians are compared.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from evaluation.generation.local import LocalSampler
from evaluation.generation.sampler import Question, grid
from trainer.data.product_world import make_tokenizer, render_prompt, sample_tasks
from trainer.models.policy import Policy

TEMPERATURES = (0.0, 0.3, 0.5, 0.7, 1.0, 1.25, 1.5, 1.75, 2.0)
ROWS_AT_ONCE = 320


def main() -> None:
    parser = argparse.ArgumentParser(description="Time sampling a temperature grid")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--replicates", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    policy = random_policy()
    questions = [Question(str(i), render_prompt(task)) for i, task in enumerate(sample_tasks("test", asked.prompts, 0))]
    ours, theirs = [], []
    for _ in range(asked.rounds):
        ours.append(seconds(lambda: sample_grid(policy, questions, asked.replicates, asked.tokens)))
        theirs.append(seconds(lambda: generate_grid(policy, questions, asked.replicates, asked.tokens)))

    responses = len(grid([question.prompt_id for question in questions], TEMPERATURES, asked.replicates))
    print(f"{responses:,} responses of at most {asked.tokens} tokens, {len(TEMPERATURES)} temperatures, one policy")
    print(f"all temperatures in one batch {statistics.median(ours):8.1f} s   {spread(ours)}")
    print(f"generate per temperature      {statistics.median(theirs):8.1f} s   {spread(theirs)}")
    print(f"ratio of medians              {statistics.median(theirs) / statistics.median(ours):8.2f}")


def random_policy() -> Policy:
    """The demonstration's shape with random weights: few responses end early, the most work there can be."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    tokenizer.padding_side = "left"
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=96,
        intermediate_size=192,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Policy(LlamaForCausalLM(config).eval(), tokenizer)


def sample_grid(policy: Policy, questions: Sequence[Question], replicates: int, tokens: int) -> None:
    """What a stress test does."""
    sampler = LocalSampler(policy, seed=0, max_response_tokens=tokens, rows_at_once=ROWS_AT_ONCE)
    cells = grid([question.prompt_id for question in questions], TEMPERATURES, replicates)
    for _ in sampler.sample(questions, cells, lambda _: True):
        pass


def generate_grid(policy: Policy, questions: Sequence[Question], replicates: int, tokens: int) -> None:
    """The plain way: one call of ``generate`` per temperature and batch of prompts."""
    prompts = sorted((policy.format.prompt_ids(question.prompt) for question in questions), key=len)
    for temperature in TEMPERATURES:
        k = replicates if temperature else 1
        sampling = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
        for start in range(0, len(prompts), max(1, ROWS_AT_ONCE // k)):
            batch = policy.tokenizer.pad(
                {"input_ids": prompts[start : start + max(1, ROWS_AT_ONCE // k)]}, return_tensors="pt"
            )
            generated = policy.model.generate(**batch, **sampling, num_return_sequences=k, max_new_tokens=tokens)
            policy.tokenizer.batch_decode(generated[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)


def seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def spread(times: Sequence[float]) -> str:
    return f"({min(times):.1f} to {max(times):.1f} in {len(times)} rounds)"


if __name__ == "__main__":
    main()
