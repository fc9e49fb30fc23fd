"""From a reward model to a version of it that multiplies 8-bit integers, with what that changes of its scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError

from evaluation.engine.probability import pointwise
from evaluation.statistics.bootstrap import BootstrapSettings, Floats, Ints
from evaluation.statistics.calibration import sigmoid
from evaluation.statistics.correlation import correlate
from evaluation.statistics.pairwise_accuracy import pair_counts
from trainer.artifacts import ArtifactStore, Contents
from trainer.data.rows import Pair
from trainer.data.sources import AnySource, DataSource
from trainer.data.text import Encoded, as_text
from trainer.errors import AssayError, Conflict, InvalidInput, OverlongInput
from trainer.manifest import Artifact, Manifest
from trainer.models.int8_linear import check_device
from trainer.models.loading import load_pair_model, make_probes
from trainer.models.pair_model import PairModel, score_all
from trainer.models.quantised import ORIGINAL, QUANTISATION, is_quantised
from trainer.models.quantised_reward_model import QuantisedRewardModel
from trainer.validation_scores import VALIDATION_FILE

MOST_HELD_OUT = 1000
"""Pairs scored where nobody says which; each is read twice."""

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Compared:
    """Pairs to compare the two on."""

    pairs: Sequence[Pair]
    place: str
    """Where they are from, for the manifest."""


def quantise(
    store: ArtifactStore, reference: str, name: str, *, compared: Compared | None, largest_mean_error: float
) -> Artifact:
    """Publish the next version of ``name``: the reward model ``reference``, its encoder in 8 bits.

    Compared with the original on the pairs given or else on ``own_pairs``. Raises InvalidInput for what is no encoder
    or is quantised and for pairs that all score alike, Conflict where this machine cannot multiply integers and where
    the mean absolute difference of scores exceeds ``largest_mean_error`` of their standard deviations; nothing is
    published then.
    """
    source = store.open(reference)
    _check(source)
    check_device(_CPU, source.reference)
    original = load_pair_model(source, store, _CPU)
    quantised = QuantisedRewardModel.load(source.path, source.manifest.details)
    compared = compared or own_pairs(source.manifest)
    kept, rows = _fitting(original, compared.pairs)
    if not rows:
        raise InvalidInput(f"none of the {len(compared.pairs)} pairs of {compared.place} fits {source.reference}")
    before, after = (np.array(score_all(model, rows))[:, 0] for model in (original, quantised))
    metrics = score_changes([as_text(pair.prompt) for pair in kept], before, after, source.manifest)
    metrics["quantisation/too_long"] = float(len(compared.pairs) - len(rows))
    error = metrics.get("quantisation/error/mean_in_sd")
    if error is None:
        raise InvalidInput(
            f"{source.reference} scores the {len(rows)} of {compared.place} alike, which says nothing of an error;"
            " give more pairs with --pairs"
        )
    if error > largest_mean_error:
        raise Conflict(
            f"in 8 bits {source.reference} scores {error:.3f} standard deviations away on average, more than"
            f" {largest_mean_error:g}; serve the original, or allow more with --max-error"
        )
    contents = Contents(
        kind="reward_model",
        recipe={"kind": "quantise", "source": source.reference, "pairs": compared.place},
        recipe_digest="",
        metrics=metrics,
        details={**source.manifest.details, QUANTISATION: {"bits": 8, "layers": quantised.layers}},
        probes=make_probes(quantised, [Pair(probe.prompt, probe.response) for probe in source.manifest.probes]),
        parents=[source.as_parent(ORIGINAL), *source.manifest.parents],
        data_digest=source.manifest.data_digest,
        data_counts=source.manifest.data_counts,
    )
    # the original's scores of validation data are not this version's
    return store.publish(name, contents, partial(source.copy_files, but=VALIDATION_FILE))


def own_pairs(manifest: Manifest) -> Compared:
    """Rows that its training held out, where they can still be read, or else its few probe pairs."""
    try:
        data: DataSource = TypeAdapter(AnySource).validate_python(manifest.recipe["data"])
        held_out = [side for row in data.preferences(held_out=True) for side in row.sides]
    except (KeyError, ValidationError, AssayError, OSError):
        held_out = []
    if held_out:
        return Compared(held_out[:MOST_HELD_OUT], f"held-out rows of {data.place}")
    return Compared([Pair(probe.prompt, probe.response) for probe in manifest.probes], "probe pairs")


def score_changes(prompts: Sequence[str], before: Floats, after: Floats, manifest: Manifest) -> dict[str, float]:
    """What became of the scores ``before`` (rows,) in those ``after``, as metrics of a manifest.

    Absolute differences, on average and at most, also in standard deviations of the scores before; rank correlations;
    of the pairs of responses to one prompt, the share whose order turned (a new tie counts half) with a bootstrap
    interval over prompts; the largest change of a probability. What too few rows leave undefined is left out.
    """
    error, spread = np.abs(after - before), before.std()
    found = {"pairs": float(before.size), "error/mean": float(error.mean()), "error/max": float(error.max())}
    if spread > 0:
        found |= {f"error/{name}_in_sd": found[f"error/{name}"] / float(spread) for name in ("mean", "max")}
    _, prompt = np.unique(np.array(prompts), return_inverse=True)
    found |= _order_changes(prompt, before, after)
    temperature = (manifest.details.get("calibration") or {}).get("temperature")
    if temperature and pointwise(manifest):
        p, q = (sigmoid(scores / temperature) for scores in (before, after))
        found["probability_error/max"] = float(np.abs(p - q).max())
    return {f"quantisation/{name}": value for name, value in found.items()}


def _order_changes(prompt: Ints, before: Floats, after: Floats) -> dict[str, float]:
    """Rank correlations, and flips of the pairs that the scores before tell apart."""
    from scipy.stats import binomtest  # type: ignore[import-untyped]  # takes a while to import

    settings = BootstrapSettings()
    estimates = correlate(
        prompt, {"after": after}, {"before": before}, draws=settings.draws, confidence=settings.confidence, seed=0,
        controls=(),
    )  # fmt: skip
    by_name = {each.statistic: each for each in estimates if each.estimate is not None}
    found = {
        name: float(by_name[statistic].estimate or 0.0)
        for name, statistic in (("spearman", "spearman_pooled"), ("kendall", "kendall_pooled"))
        if statistic in by_name
    }
    agreed = by_name.get("pairwise_accuracy")
    if agreed is None or agreed.estimate is None:
        return found
    found["flips"] = 1 - agreed.estimate
    if agreed.lower is not None and agreed.upper is not None:
        found |= {"flips/lower": 1 - agreed.upper, "flips/upper": 1 - agreed.lower}
    if not found["flips"]:  # of draws without flips all are: what as many independent prompts can rule out
        bound = binomtest(0, agreed.n_prompts).proportion_ci(settings.confidence, method="exact")
        found |= {"flips/lower": 0.0, "flips/upper": float(bound.high)}
    return {**found, "compared_orders": _decided(prompt, before, after)}


def _decided(prompt: Ints, before: Floats, after: Floats) -> float:
    """How many pairs of responses to one prompt the scores before tell apart."""
    rows = np.argsort(prompt, kind="stable")
    ranks = [np.unique(scores, return_inverse=True)[1][rows] for scores in (after, before)]
    return float(pair_counts(prompt[rows], ranks[0], ranks[1], int(prompt.max()) + 1)[:, 1].sum())


def _check(source: Artifact) -> None:
    manifest = source.manifest
    if manifest.kind != "reward_model":
        raise InvalidInput(f"{source.reference} is a {manifest.kind}; 8 bits are for reward models")
    if manifest.details["architecture"] != "encoder":
        raise InvalidInput(f"{source.reference} is a decoder, which reads a prompt once for many responses; keep it")
    if is_quantised(manifest):
        raise InvalidInput(f"{source.reference} is quantised already")


def _fitting(model: PairModel, pairs: Sequence[Pair]) -> tuple[list[Pair], list[Encoded]]:
    """The pairs that fit the model's window, and as it reads them."""
    kept, rows = [], []
    for pair in pairs:
        try:
            rows.append(model.encode(pair.prompt, pair.response))
        except OverlongInput:
            continue
        kept.append(pair)
    return kept, rows
