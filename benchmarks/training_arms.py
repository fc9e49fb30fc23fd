"""The arms of the training benchmark: what each process trains, on which rows, and how a step is timed."""

import contextlib
import copy
import ctypes
import os
import random
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedConfig, PreTrainedModel

from benchmarks.memory import process_memory
from trainer.adversarial.construction import build_regulariser
from trainer.adversarial.settings import Adversarial
from trainer.artifacts import ArtifactStore
from trainer.batches import BatchPlan
from trainer.data.product_world import make_tokenizer
from trainer.data.text import Encoded
from trainer.loop import BatchSettings, CheckpointSettings, Schedule, optimise
from trainer.models.known import known_config
from trainer.models.policy import Policy
from trainer.models.reference import FrozenCopy
from trainer.objectives import DPO, SimPO
from trainer.recipe import Run
from trainer.recipes.encoding import EncodedPreference
from trainer.recipes.preference_learner import PreferenceLearner
from trainer.reporting import Reporter
from trainer.schedule import OptimizerSettings

WARM_UP = 2
"""Steps before the first round: AdamW's moments and the allocator's pools come into being."""
RATE = 5e-7


def llama(hidden: int, layers: int, heads: int) -> PreTrainedConfig:
    return LlamaConfig(
        vocab_size=32_000,
        hidden_size=hidden,
        intermediate_size=hidden * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
    )


MODELS: Mapping[str, Callable[[], PreTrainedConfig | None]] = {
    "22m": lambda: llama(384, 6, 6),
    "110m": lambda: llama(768, 12, 12),
    "335m": lambda: llama(1024, 24, 16),
    "gemma-2-2b": lambda: known_config("google/gemma-2-2b"),
    "llama-3-8b": lambda: known_config("meta-llama/Meta-Llama-3-8B"),
}


@dataclass(frozen=True)
class Asked:
    """What every arm is given."""

    model: str
    device: str
    dtype: str
    pairs: int
    micro: int
    rounds: int
    length: float
    layers: int
    checkpointing: bool
    live_memory: bool

    @property
    def steps(self) -> int:
        return WARM_UP + self.rounds


@dataclass(frozen=True)
class Step:
    seconds: float
    peak: int
    """Bytes, so far."""


class Clock:
    """In an arm: waits for its turn before each step and says what the step took."""

    def __init__(self, asked: Asked, pipe: Connection) -> None:
        self.cuda = asked.device == "cuda"
        self.pipe = pipe
        self.before, self.peak = self._held(), 0

    def start(self) -> None:
        """Before the first step."""
        assert self.pipe.recv() == "go"
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        else:
            Path("/proc/self/clear_refs").write_text("5")  # forget the peak
        self.started = self._now()

    def step_done(self) -> None:
        """At the end of every step."""
        if self.cuda:
            torch.cuda.synchronize()
        seconds = self._now() - self.started
        peak = torch.cuda.max_memory_allocated() if self.cuda else process_memory("VmHWM")
        self.peak = max(self.peak, peak)
        self.pipe.send(Step(seconds, self.peak - self.before))
        self.start()

    def _now(self) -> float:
        return time.perf_counter() if self.cuda else time.process_time()

    def _held(self) -> int:
        return torch.cuda.memory_allocated() if self.cuda else process_memory("VmRSS")


def work(arm: str, asked: Asked, pipe: Connection) -> None:
    """One arm, in its own process, until it is ended."""
    if asked.live_memory:
        map_large_blocks()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    train = train_trl if arm.startswith("trl") else train_ours
    import trl  # noqa: F401 - both sides start from the same imports

    rows = make_rows(asked)
    clock = Clock(asked, pipe)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(MODELS[asked.model]()).to(asked.device)
    with tempfile.TemporaryDirectory() as directory, contextlib.suppress(EOFError):
        train(arm, model, rows, asked, clock, Path(directory))


def map_large_blocks() -> None:
    """Have glibc map every block of 64 KiB or more by itself, and unmap it when it is freed.

    Its own threshold grows to 32 MiB with what is freed: the tensors of a step would share a heap.
    """
    mmap_threshold = -3  # M_MMAP_THRESHOLD of malloc.h
    assert ctypes.CDLL(None).mallopt(mmap_threshold, 1 << 16) == 1


def make_rows(asked: Asked) -> list[EncodedPreference]:
    """A window's worth of preferences more than is used: length bucketing is to have something to choose from."""
    draw = random.Random(0)

    def tokens(median: float, spread: float, most: int) -> list[int]:
        count = int(asked.length * min(draw.lognormvariate(0, spread) * median, most))
        return [draw.randrange(3, 32_000) for _ in range(max(count, 4))]

    rows = []
    for _ in range(16 * asked.pairs):
        prompt = tokens(180, 0.9, 1800)
        chosen, rejected = (Encoded([*prompt, *tokens(120, 0.6, 248)], len(prompt)) for _ in range(2))
        rows.append(EncodedPreference(chosen, rejected, "benchmark"))
    return rows


def rows_of_steps(rows: Sequence[EncodedPreference], asked: Asked) -> list[list[EncodedPreference]]:
    """What our plan puts into each step."""
    plan = BatchPlan([row.tokens for row in rows], asked.pairs, seed=0)
    return [[rows[index] for index in plan[step]] for step in range(asked.steps)]


class _Turns(Reporter):
    """Tells the clock at the end of every step, before anything is saved."""

    clock: Clock

    def metrics(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        super().metrics(stage, step, values)
        self.clock.step_done()


def train_ours(
    arm: str, model: PreTrainedModel, rows: list[EncodedPreference], asked: Asked, clock: Clock, directory: Path
) -> None:
    """The arms of this project."""
    if asked.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    policy, dtype = Policy(model, make_tokenizer()), getattr(torch, asked.dtype)
    regulariser = None
    if arm.startswith("ganpo"):
        settings = Adversarial.model_validate({"discriminator": {"kind": "transformer", "layers": asked.layers}})
        regulariser = build_regulariser(settings, int(model.config.hidden_size), seed=0).to(asked.device)
    objective = SimPO() if "simpo" in arm else DPO()
    reference = None if arm == "simpo" else FrozenCopy(policy, dtype)
    with _Turns(directory, quiet=True) as reporter:
        reporter.clock = clock
        learner = PreferenceLearner(policy, reference, objective, regulariser, share_prompts="shared" in arm)
        clock.start()
        optimise(
            learner,
            rows,
            [row.tokens for row in rows],
            optimizer=OptimizerSettings(learning_rate=RATE, warmup_fraction=0.0),
            batch=BatchSettings(size=asked.pairs, micro=asked.micro),
            duration=Schedule(max_steps=asked.steps + 1),
            checkpoint=CheckpointSettings(every_steps=10**9),
            seed=0,
            run=Run("benchmark", directory, ArtifactStore(directory), reporter),
            compute_dtype=dtype,
        )


def train_trl(
    arm: str, model: PreTrainedModel, rows: list[EncodedPreference], asked: Asked, clock: Clock, directory: Path
) -> None:
    """TRL's trainer on rows that are tokens already, its defaults kept but for what must be equal."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    class Turns(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, *_: object, **__: object) -> None:
            clock.start()

        def on_step_end(self, *_: object, **__: object) -> None:
            clock.step_done()

    class Tokenised(DPOTrainer):
        def _prepare_dataset(self, dataset: Dataset, *_: object) -> Dataset:
            return dataset

    bfloat16 = asked.dtype == "bfloat16"
    ordered = [row for step in rows_of_steps(rows, asked) for row in step] if arm == "trl" else rows
    columns = [
        {
            "prompt_ids": chosen.input_ids[: chosen.response_start],
            "chosen_ids": chosen.input_ids[chosen.response_start :],
            "rejected_ids": rejected.input_ids[rejected.response_start :],
        }
        for chosen, rejected in (row.pair for row in ordered)
    ]
    arguments = DPOConfig(
        str(directory),
        per_device_train_batch_size=asked.micro,
        gradient_accumulation_steps=asked.pairs // asked.micro,
        max_steps=asked.steps + 1,
        learning_rate=RATE,
        lr_scheduler_type="cosine",
        max_length=None,
        bf16=bfloat16,
        gradient_checkpointing=asked.checkpointing,
        train_sampling_strategy="sequential" if arm == "trl" else "random",
        use_cpu=asked.device == "cpu",
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    reference = copy.deepcopy(model).eval().requires_grad_(False).to(torch.bfloat16 if bfloat16 else torch.float32)
    Tokenised(
        model,
        reference,
        arguments,
        train_dataset=Dataset.from_list(columns),
        processing_class=make_tokenizer(),
        callbacks=[Turns()],
    ).train()


def needed_flops(config: PreTrainedConfig, rows: Sequence[EncodedPreference], forwards: int) -> float:
    """Arithmetic one step needs, ``forwards`` times a forward pass (backward is two).

    A forward over T real tokens of which R are predicted: 2 T per weight of the layers, 2 hidden vocabulary R for the
    head, and 2 layers heads head_size T^2 for scores and weighted values under a causal mask. Recomputation, padding,
    norms and discriminators count as nothing.
    """
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    attention = 2 * config.hidden_size * size * (config.num_attention_heads + config.num_key_value_heads)
    weights = config.num_hidden_layers * (attention + 3 * config.hidden_size * config.intermediate_size)
    total = 0.0
    for side in (side for row in rows for side in row.sides):
        total += 2.0 * weights * side.tokens
        total += 2.0 * config.hidden_size * config.vocab_size * (side.tokens - side.response_start)
        total += 2.0 * config.num_hidden_layers * config.num_attention_heads * size * side.tokens**2
    return forwards * total
