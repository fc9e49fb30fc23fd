"""Time and memory of a training step: ours against TRL's DPOTrainer, and GANPO against the same without it.

    OMP_NUM_THREADS=1 python -m benchmarks.training [--model 22m] [--rounds 8]
    OMP_NUM_THREADS=1 python -m benchmarks.training --model 110m --arms dpo,ganpo --rounds 4
    python -m benchmarks.training --device cuda --model gemma-2-2b --dtype bfloat16 --length 1 --pairs 16 --micro 2

Every arm is a process of its own with the same random weights, the same rows, micro-batches, optimiser and precision,
and trains with the real loops: ``optimise`` and ``DPOTrainer.train``. On a CPU a round is one step of every arm, one
after another, and seconds are processor seconds, so that what else the machine does hardly matters; on an accelerator,
whose memory they would have to share, each arm runs by itself (``--in-turn``) by the wall clock. Ratios are medians
over rounds of the ratio within a round: the same batch on both sides. The arm ``trl-shuffled`` draws its own batches,
as TRL does unless told otherwise; ``dpo-shared`` reads each prompt once (``share_prompts``).

Lengths are like UltraFeedback's under the paper's limits (prompts to 1800 tokens, responses to 248), times
``--length``: log-normal with medians 180 and 120. Tokens are random.

Memory is the peak above the process before it had a model: resident bytes on Linux, ``max_memory_allocated`` on CUDA.
What is resident depends on the C library too: glibc puts blocks of up to 32 MiB into one heap, and what is freed there
below something that lives stays resident. ``--live-memory`` has every larger block mapped by itself and given back
when it is freed, so that the peak is that of tensors alive, as an accelerator counts them; it costs time.
MFU counts the arithmetic the objective needs, on real tokens, over 989 TFLOP/s (dense bfloat16, H100 and H200): see
``needed_flops``.
"""

import argparse
import multiprocessing
import statistics
import sys
from collections.abc import Mapping, Sequence

import torch
from transformers import AutoModelForCausalLM

from benchmarks.training_arms import MODELS, WARM_UP, Asked, Step, make_rows, needed_flops, rows_of_steps, work

PEAK_FLOPS = 989e12
COMPARED = (
    ("dpo", "trl"),
    ("dpo", "trl-shuffled"),
    ("dpo-shared", "trl"),
    ("dpo-shared", "dpo"),
    ("ganpo", "dpo"),
    ("ganpo", "trl"),
    ("ganpo-simpo", "simpo"),
)
ARMS = ("dpo", "trl", "trl-shuffled", "dpo-shared", "ganpo", "simpo", "ganpo-simpo")


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of a training step")
    parser.add_argument("--model", choices=MODELS, default="22m")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="what training computes in")
    parser.add_argument("--pairs", type=int, default=4, help="per step")
    parser.add_argument("--micro", type=int, default=2, help="pairs per micro-batch")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--length", type=float, default=0.5, help="times the lengths of the paper's settings")
    parser.add_argument("--layers", type=int, default=2, help="of the discriminators")
    parser.add_argument("--checkpointing", action="store_true", help="gradient checkpointing, on both sides")
    parser.add_argument("--live-memory", action="store_true", help="on Linux count what is alive, at a cost in time")
    parser.add_argument("--arms", default=",".join(ARMS), help="some of the default, comma-separated")
    parser.add_argument("--in-turn", action="store_true", help="one arm after another instead of step by step")
    parsed = vars(parser.parse_args())
    arms = parsed.pop("arms").split(",")
    in_turn = parsed.pop("in_turn") or parsed["device"] == "cuda"
    asked = Asked(**parsed)
    describe(asked)
    groups = [[arm] for arm in arms] if in_turn else [arms]
    measured: dict[str, list[Step]] = {}
    for group in groups:
        measured |= play(group, asked)
    report(measured, asked)


def play(arms: Sequence[str], asked: Asked) -> dict[str, list[Step]]:
    """Let ``arms`` take turns step by step, another one first in every round."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for arm in arms:
        pipes[arm], theirs = context.Pipe()
        processes.append(context.Process(target=work, args=(arm, asked, theirs), daemon=True))
        processes[-1].start()
        theirs.close()
    measured: dict[str, list[Step]] = {arm: [] for arm in arms}
    for index in range(asked.steps):
        for arm in (*arms[index % len(arms) :], *arms[: index % len(arms)]):
            pipes[arm].send("go")
            step = pipes[arm].recv()
            if index >= WARM_UP:
                measured[arm].append(step)
        print(f"\rround {index + 1 - WARM_UP} of {asked.rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    for process in processes:
        process.kill()  # a training asked to stop would save first
        process.join()
    return measured


def describe(asked: Asked) -> None:
    sides = [side for row in make_rows(asked) for side in row.sides]
    prompts = [side.response_start for side in sides]
    responses = [side.tokens - side.response_start for side in sides]
    with torch.device("meta"):
        parameters = AutoModelForCausalLM.from_config(MODELS[asked.model]()).num_parameters()
    where = torch.cuda.get_device_name() if asked.device == "cuda" else f"{torch.get_num_threads()} CPU thread(s)"
    print(f"{asked.model}: {parameters / 1e6:,.0f} M parameters, {asked.dtype}, {where}, torch {torch.__version__}")
    print(
        f"{asked.pairs} pairs per step in micro-batches of {asked.micro}; prompts of {statistics.mean(prompts):.0f}"
        f" and responses of {statistics.mean(responses):.0f} tokens on average"
    )


def report(measured: Mapping[str, Sequence[Step]], asked: Asked) -> None:
    """Print medians per arm and ratios per comparison."""
    batches = rows_of_steps(make_rows(asked), asked)[WARM_UP:]
    config = MODELS[asked.model]()
    print(f"\n{'arm':14}{'s per step':>12}{'min to max':>18}{'peak GB':>10}{'MFU %':>8}")
    for arm, steps in measured.items():
        seconds = [step.seconds for step in steps]
        mfu = "-"
        # the one's batches are its own, the other needs less arithmetic
        if asked.device == "cuda" and arm not in ("trl-shuffled", "dpo-shared"):
            flops = [needed_flops(config, rows, 3 if arm == "simpo" else 4) for rows in batches]
            mfu = f"{100 * sum(flops) / sum(seconds) / PEAK_FLOPS:.1f}"
        spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
        peak = steps[-1].peak / 1e9
        print(f"{arm:14}{statistics.median(seconds):12.2f}{spread:>18}{peak:10.3f}{mfu:>8}")
    print(f"\n{'ratio':28}{'time':>8}{'25 to 75 %':>16}{'peak':>8}")
    for ours, peer in COMPARED:
        if ours in measured and peer in measured:
            a, b = measured[ours], measured[peer]
            times = sorted(x.seconds / y.seconds for x, y in zip(a, b, strict=True))
            spread = f"{times[len(times) // 4]:.3f} to {times[-1 - len(times) // 4]:.3f}"
            print(f"{ours + ' / ' + peer:28}{statistics.median(times):8.3f}{spread:>16}{a[-1].peak / b[-1].peak:8.3f}")


if __name__ == "__main__":
    main()
