"""Speed of the scoring engine against what it could be replaced by, side by side in one run.

    OMP_NUM_THREADS=1 python -m benchmarks.scoring offline [--encoder DIRECTORY] [--data FILE.jsonl.gz] [--pairs 96]
        [--int8] [--threads 2]
    OMP_NUM_THREADS=1 python -m benchmarks.scoring prefix [--shape 23m|110m]
    OMP_NUM_THREADS=1 python -m benchmarks.scoring latency
    OMP_NUM_THREADS=1 python -m benchmarks.scoring passes

``offline``: an encoder under a random head, the one in ``--encoder`` or else a random one of MiniLM's shape, scores the
same pairs cut to the same window by the engine, by ``CrossEncoder.predict`` of sentence-transformers at each
batch size, by the ``transformers`` pipeline, with ``--int8`` also by the engine with the encoder in 8 bits, and how far
those scores are from the others. ``prefix``: K responses of one prompt by a random
decoder, with the prompt read once and with each. ``latency``: what the engine adds to a single pair while it is idle.
``passes``: what a pass costs besides its tokens. Rounds alternate and medians are compared, of processor seconds for
work (other work may share the machine) and of wall-clock for latency and for work by several ``--threads``, of which
those that wait count as busy.
"""

import argparse
import gzip
import json
import math
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from evaluation.engine.meter import Counts
from evaluation.engine.scoring import Pair, Scored, ScoringEngine
from evaluation.quantising import Compared, quantise
from trainer.artifacts import ArtifactStore, Contents
from trainer.data.product_world import make_tokenizer
from trainer.data.text import Encoded
from trainer.models.loading import make_probes
from trainer.models.readings import Readings
from trainer.models.reward_model import RewardModel
from trainer.models.shared_prefix import SharedPrompt

CPU = torch.device("cpu")
BATCH_SIZES = (1, 4, 8, 32)
"""Of which the peer's best counts."""
POINTS = ((1024, 64, 16), (1024, 128, 8), (512, 128, 8), (128, 384, 8))
"""Prompt tokens, response tokens, responses."""
SHAPES = {"demo": (96, 3), "23m": (384, 6), "110m": (768, 12)}
"""Hidden size and layers."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the scoring engine")
    parser.add_argument("what", choices=["offline", "prefix", "latency", "passes"])
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--pairs", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--int8", action="store_true")
    parser.add_argument("--shape", choices=SHAPES, default="23m")
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", "1")))
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    match asked.what:
        case "offline":
            offline(asked.encoder, texts(asked.data, asked.pairs), asked.rounds, asked.window, int8=asked.int8)
        case "prefix":
            prefix(asked.shape, asked.rounds)
        case "latency":
            latency(asked.encoder, texts(asked.data, asked.pairs), asked.rounds, asked.window)
        case "passes":
            passes(asked.rounds)


def offline(directory: Path | None, pairs: list[Pair], rounds: int, window: int, *, int8: bool) -> None:
    """Ours against sentence-transformers and the transformers pipeline."""
    with tempfile.TemporaryDirectory() as place:
        model, tokenizer = encoder(directory, Path(place) / "encoder")
        pairs = [cut(tokenizer, pair, window) for pair in pairs]
        store = published(Path(place) / "artifacts", model, tokenizer, window)
        meter = Counts()
        with ScoringEngine(store, CPU, meter=meter) as engine:
            engine.load("rm")
            sides: dict[str, Callable[[], list[float]]] = {"engine": lambda: scores(engine, pairs)}
            if int8:
                made = quantise(store, "rm", "rm-int8", compared=Compared(pairs, "pairs"), largest_mean_error=math.inf)
                print(json.dumps(made.manifest.metrics))
                sides["engine, 8 bits"] = lambda: scores(engine, pairs, "rm-int8")
            sides |= peers(Path(place) / "encoder", pairs, window)
            expected = sides["engine"]()
            for name, side in sides.items():
                found = side()  # which also warms up
                worst = max(abs(a - b) for a, b in zip(expected, found, strict=True))
                print(f"{name:40} differs by at most {worst:.1e}", flush=True)
            spent = alternating(sides, rounds)
    lengths = [len(tokenizer(pair.prompt, pair.response)["input_ids"]) for pair in pairs]
    print(f"{len(pairs)} pairs of {statistics.mean(lengths):.0f} tokens on average ({min(lengths)} to {max(lengths)})")
    print(f"engine: padding {meter.padding_share:.1%}, {meter.tokens / meter.batches:.0f} tokens a batch")
    report(spent, len(pairs))


def peers(directory: Path, pairs: list[Pair], window: int) -> dict[str, Callable[[], list[float]]]:
    """The other ways to score ``pairs`` with the model in ``directory``."""
    from sentence_transformers import CrossEncoder
    from transformers import pipeline

    cross = CrossEncoder(str(directory), device="cpu", max_length=window)
    plain = pipeline("text-classification", model=str(directory), device="cpu")
    couples = [(pair.prompt, pair.response) for pair in pairs]
    named = [{"text": pair.prompt, "text_pair": pair.response} for pair in pairs]

    def predict(size: int) -> list[float]:
        found = cross.predict(couples, batch_size=size, activation_fn=torch.nn.Identity(), show_progress_bar=False)
        return [float(each) for each in found]

    def classify(size: int) -> list[float]:
        options = {"truncation": True, "max_length": window, "function_to_apply": "none", "batch_size": size}
        return [each["score"] for each in plain(named, **options)]

    sides: dict[str, Callable[[], list[float]]] = {}
    for size in BATCH_SIZES:
        sides[f"CrossEncoder, batches of {size}"] = lambda size=size: predict(size)  # type: ignore[misc]
    sides["pipeline, as it comes"] = lambda: classify(1)
    sides["pipeline, batches of 8"] = lambda: classify(8)
    return sides


def prefix(shape: str, rounds: int) -> None:
    """A prompt read once against one read with each response, as the engine would batch either."""
    model = decoder(shape)
    bound_met = []
    for prompt, response, count in POINTS:
        rows = [
            Encoded([*range(10, 10 + prompt), *(random.Random(k).choices(range(10, 4000), k=response))], prompt)
            for k in range(count)
        ]
        together = max(1, 1024 // (prompt + response))

        def apart(rows: Sequence[Encoded] = rows, together: int = together) -> list[float]:
            parts = [rows[start : start + together] for start in range(0, len(rows), together)]
            return [score for part in parts for score in model.score(part)[:, 0].tolist()]

        def once(rows: Sequence[Encoded] = rows) -> list[float]:
            shared = SharedPrompt(rows[0].input_ids[: rows[0].response_start])
            found: list[float] = model.score(rows, None, Readings(rows, shared))[:, 0].tolist()
            return found

        worst = max(abs(a - b) for a, b in zip(apart(), once(), strict=True))
        spent = alternating({"apart": apart, "once": once}, rounds)
        ratio = statistics.median(a / b for a, b in zip(spent["apart"], spent["once"], strict=True))
        bound = count * (prompt + response) / (prompt + count * response)
        bound_met.append(ratio / bound)
        print(
            f"{prompt}/{response}/{count}: {statistics.median(spent['apart']):.2f} s and"
            f" {statistics.median(spent['once']):.2f} s, ratio {ratio:.2f}, bound {bound:.2f}, share"
            f" {ratio / bound:.2f}, scores differ by at most {worst:.1e}",
            flush=True,
        )


def latency(directory: Path | None, pairs: list[Pair], rounds: int, window: int) -> None:
    """Wall-clock of a single pair by the idle engine, less that of encoding and the forward pass alone."""
    with tempfile.TemporaryDirectory() as place:
        model, tokenizer = encoder(directory, Path(place) / "encoder")
        store = published(Path(place) / "artifacts", model, tokenizer, window)
        bare = RewardModel(model, tokenizer, architecture="encoder", pooling="cls", max_tokens=window)
        added, whole = [], []
        with ScoringEngine(store, CPU) as engine:
            scores(engine, pairs[:8])
            for pair in [cut(tokenizer, pair, window) for pair in pairs] * rounds:
                started = time.perf_counter()
                bare.score([bare.encode(pair.prompt, pair.response)])
                between = time.perf_counter()
                scores(engine, [pair])
                ended = time.perf_counter()
                added.append((ended - between) - (between - started))
                whole.append(ended - between)
    quartiles = statistics.quantiles(added, n=4)
    print(
        f"added to {1000 * statistics.median(whole):.1f} ms: median {1000 * quartiles[1]:.2f} ms"
        f" ({1000 * quartiles[0]:.2f} to {1000 * quartiles[2]:.2f}) over {len(added)} requests"
    )


def passes(rounds: int) -> None:
    """By least squares over passes of some lengths: what a pass costs besides its tokens, in tokens."""
    for shape in SHAPES:
        model = decoder(shape)
        lengths = (16, 32, 64, 128, 256, 512)
        spent = alternating(
            {str(n): lambda n=n, model=model: model.score([Encoded([7] * n, 1)]) for n in lengths}, 5 * rounds
        )
        seconds = [statistics.median(spent[str(n)]) for n in lengths]
        slope, intercept = statistics.linear_regression(lengths, seconds)
        print(
            f"{shape}: {1000 * intercept:.2f} ms a pass and {1e6 * slope:.0f} us a token, which is"
            f" {intercept / slope:.0f} tokens a pass",
            flush=True,
        )


def alternating(sides: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every side, one after the other in each round."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    spent: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            started = clock()
            side()
            spent[name].append(clock() - started)
    return spent


def report(spent: dict[str, list[float]], pairs: int) -> None:
    ours = spent["engine"]
    for name, seconds in spent.items():
        ratios = [theirs / mine for theirs, mine in zip(seconds, ours, strict=True)]
        print(
            f"{name:40}{pairs / statistics.median(seconds):8.1f} pairs/s, the engine {statistics.median(ratios):.2f}"
            f" times as fast ({min(ratios):.2f} to {max(ratios):.2f})"
        )


def scores(engine: ScoringEngine, pairs: Sequence[Pair], scorer: str = "rm") -> list[float]:
    found = engine.score(scorer, pairs)
    assert all(isinstance(each, Scored) for each in found)
    return [each.score for each in found if isinstance(each, Scored)]


def texts(path: Path | None, count: int) -> list[Pair]:
    """A sample of judged responses, or as many words of the same lengths: log-normal, 8 in 10 from 37 to 430."""
    draw = random.Random(0)
    if path is not None:
        with gzip.open(path, "rt") as lines:
            rows = [json.loads(line) for line in lines]
        chosen = [row for row in draw.sample(rows, 2 * count) if row["response"].strip()][:count]
        return [Pair(row["prompt"], row["response"]) for row in chosen]
    words = ["color", "size", "red", "blue", "mug", "lamp", "tiny", "large", "is", "the"]
    return [
        Pair(
            " ".join(draw.choices(words, k=25)),
            " ".join(draw.choices(words, k=int(draw.lognormvariate(4.84, 0.96)) + 1)),
        )
        for _ in range(count)
    ]


def encoder(directory: Path | None, to: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The encoder in ``directory`` under a head of one output with random weights, saved where peers can read it."""
    torch.manual_seed(0)
    if directory is not None:
        config = AutoConfig.from_pretrained(directory, num_labels=1)
        model = AutoModelForSequenceClassification.from_pretrained(directory, config=config, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(directory)
    else:
        tokenizer = make_tokenizer()
        model = AutoModelForSequenceClassification.from_config(
            BertConfig(
                vocab_size=30_522,
                hidden_size=384,
                num_hidden_layers=6,
                num_attention_heads=12,
                intermediate_size=1536,
                num_labels=1,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
    model.save_pretrained(to)
    tokenizer.save_pretrained(to)
    return model.eval(), tokenizer


def decoder(shape: str) -> RewardModel:
    torch.manual_seed(0)
    hidden, layers = SHAPES[shape]
    config = LlamaConfig(
        vocab_size=4096, hidden_size=hidden, intermediate_size=4 * hidden, num_hidden_layers=layers,
        num_attention_heads=max(4, hidden // 64), max_position_embeddings=2048, num_labels=1, pad_token_id=0,
    )  # fmt: skip
    model = LlamaForSequenceClassification(config).eval()
    return RewardModel(model, make_tokenizer(), architecture="decoder", pooling="last_token")


def published(place: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, window: int) -> ArtifactStore:
    store = ArtifactStore(place)
    scorer = RewardModel(model, tokenizer, architecture="encoder", pooling="cls", max_tokens=window)
    probes = make_probes(scorer, [Pair("a red mug", "the mug is red")])
    store.publish("rm", Contents("reward_model", {}, "", {}, scorer.details(), probes, []), scorer.save)
    return store


def cut(tokenizer: PreTrainedTokenizerBase, pair: Pair, window: int) -> Pair:
    """The pair with its response's end left out where it would not fit, so that no side truncates anything."""
    prompt = tokenizer(str(pair.prompt), add_special_tokens=False)["input_ids"][: window // 2]
    response = tokenizer(pair.response, add_special_tokens=False)["input_ids"][: window - len(prompt) - 8]
    # without the names of unknown words, which we read as text and the others as a token
    return Pair(*(tokenizer.decode(ids, skip_special_tokens=True) for ids in (prompt, response)))


if __name__ == "__main__":
    main()
