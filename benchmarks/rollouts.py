"""Speed of rollouts, and of recomputing their log-probabilities, against ``generate``, side by side in one run.

    OMP_NUM_THREADS=1 python benchmarks/rollouts.py [--policy DIRECTORY] [--rollouts 256] [--tokens 56] [--rounds 5]

Both sample one response to each prompt at temperature 1 from the whole distribution, in batches as large as ours;
``generate`` with a cache, its own noise and padding on the left. Without ``--policy`` the weights are random, so that
few responses end early. Rounds alternate, medians are compared.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from trainer.data.product_world import make_tokenizer, render_prompt, sample_tasks
from trainer.generation.batches import ROWS_AT_ONCE
from trainer.models.policy import Policy
from trainer.models.value_head import ActorCritic
from trainer.rollouts import PolicyPrompt, Rollout, encode_prompts, recompute, sample_rollouts


def main() -> None:
    parser = argparse.ArgumentParser(description="Time rollouts")
    parser.add_argument("--policy", type=Path)
    parser.add_argument("--rollouts", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=56)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--hidden-size", type=int, default=96)
    parser.add_argument("--layers", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    policy = Policy.load(asked.policy) if asked.policy else random_policy(asked.hidden_size, asked.layers)
    policy.model.to(device).eval()
    policy.tokenizer.padding_side = "left"
    texts = [render_prompt(task) for task in sample_tasks("train", asked.rollouts, 0)]
    prompts = encode_prompts(policy, texts, asked.tokens)
    actor_critic = ActorCritic(policy, "detached")
    ours, theirs, again = [], [], []
    for draw in range(asked.rounds + 1):
        found: list[Rollout] = []
        ours.append(seconds(lambda: found.extend(sample(policy, prompts, draw, asked.tokens)), device))  # noqa: B023
        theirs.append(seconds(lambda: generate(policy, prompts, asked.tokens), device))
        again.append(
            seconds(
                lambda: recompute(found, actor_critic, policy.logps, pad_id=policy.pad_id, device=device, micro=64),  # noqa: B023
                device,
            )
        )
    ours, theirs, again = ours[1:], theirs[1:], again[1:]  # the first warms up
    tokens = sum(rollout.encoded.tokens - rollout.encoded.response_start for rollout in found)
    print(f"{asked.rollouts:,} rollouts of at most {asked.tokens} tokens ({tokens:,} in the last round), on {device}")
    print(f"sample_rollouts     {statistics.median(ours):8.3f} s   {spread(ours)}")
    print(f"generate            {statistics.median(theirs):8.3f} s   {spread(theirs)}")
    print(f"ratio of medians    {statistics.median(theirs) / statistics.median(ours):8.2f}")
    print(f"recompute           {statistics.median(again):8.3f} s   {spread(again)} (policy, value, reference)")


def random_policy(hidden_size: int, layers: int) -> Policy:
    """The demonstration's shape by default."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=4 * hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Policy(LlamaForCausalLM(config), tokenizer)


def sample(policy: Policy, prompts: Sequence[PolicyPrompt], draw: int, tokens: int) -> list[Rollout]:
    return sample_rollouts(policy, prompts, seed=0, draw=draw, max_response_tokens=tokens)


def generate(policy: Policy, prompts: Sequence[PolicyPrompt], tokens: int) -> None:
    """The plain way."""
    ordered = sorted((list(prompt.ids) for prompt in prompts), key=len)
    for start in range(0, len(ordered), ROWS_AT_ONCE):
        batch = policy.tokenizer.pad({"input_ids": ordered[start : start + ROWS_AT_ONCE]}, return_tensors="pt")
        batch = batch.to(policy.device)
        generated = policy.model.generate(
            **batch, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=tokens
        )
        policy.tokenizer.batch_decode(generated[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)


def seconds(work: Callable[[], object], device: torch.device) -> float:
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def spread(times: Sequence[float]) -> str:
    return f"({min(times):.3f} to {max(times):.3f} in {len(times)} rounds)"


if __name__ == "__main__":
    main()
