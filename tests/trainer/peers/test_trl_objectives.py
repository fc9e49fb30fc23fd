"""Every objective agrees with TRL 1.16.0, running TRL's own trainers, on loss, log-probabilities and gradients.

To 1e-5 in float32, on rows whose prompts and responses differ in length and of which TRL makes its own tokens.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from trainer.data.sources import ProductWorldData
from trainer.data.text import Encoded, as_messages
from trainer.models.policy import Policy, collate
from trainer.models.reference import FrozenCopy
from trainer.objectives import DPO, IPO, KTO, ORPO, PreferenceObjective, SimPO
from trainer.recipe import Run
from trainer.recipes.encoding import EncodedPreference, encode_preferences
from trainer.recipes.preference_learner import PreferenceLearner

pytest.importorskip("trl", reason="the peer these tests compare with is not installed")
pytestmark = [
    # TRL says so of its experimental package, and touches an attribute that transformers renames in its version 6
    pytest.mark.filterwarnings("ignore::trl.import_utils.TRLExperimentalWarning"),
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
]
TOLERANCE = 1e-5
REWARDS = "rewards/chosen rewards/rejected rewards/margins"
LOGPS = "logps/chosen logps/rejected"


def step(
    policy: Policy, reference: Policy, objective: PreferenceObjective, rows: Sequence[EncodedPreference]
) -> dict[str, float]:
    """Our metrics for ``rows``, whose gradients are left at the policy."""
    learner = PreferenceLearner(policy, FrozenCopy(reference), objective, None)
    learner.begin([(rows, 1.0)])
    return {name: float(value) for name, value in learner.backward(rows, 1.0, last=True).items()}


def assert_same_gradients(ours: torch.nn.Module, theirs: torch.nn.Module) -> None:
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    assert len(gradients) > 10
    for name, parameter in ours.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 1e-4, name
        torch.testing.assert_close(parameter.grad, gradients[name], atol=TOLERANCE, rtol=TOLERANCE, msg=name)


def assert_same_metrics(ours: dict[str, float], theirs: dict[str, float], names: str) -> None:
    for name in names.split():
        assert ours[name] == pytest.approx(theirs[name], abs=TOLERANCE, rel=TOLERANCE), name


@pytest.fixture
def rows(policy: Policy, data: ProductWorldData, run: Run) -> list[EncodedPreference]:
    return encode_preferences(policy, data.preferences(), data, run)


@pytest.fixture
def dataset(data: ProductWorldData, tell: Callable[..., Any]) -> Any:
    """The same rows as TRL reads them."""
    return tell(data.preferences())


@pytest.mark.parametrize(
    ("objective", "arguments"),
    [
        (DPO(beta=0.1), {"beta": 0.1}),
        (DPO(label_smoothing=0.1, robust=True), {"beta": 0.1, "loss_type": "robust", "label_smoothing": 0.1}),
        (IPO(beta=0.1), {"beta": 0.1, "loss_type": "ipo"}),
    ],
    ids=["dpo", "robust_dpo", "ipo"],
)
def test_objectives_of_the_dpo_trainer(
    objective: PreferenceObjective,
    arguments: dict[str, Any],
    policy: Policy,
    reference: Policy,
    rows: list[EncodedPreference],
    dataset: Any,
    settings: dict[str, Any],
) -> None:
    trainer = dpo_trainer(policy, reference, dataset, {**settings, **arguments})
    loss = trainer.compute_loss(trainer.model, trainer.data_collator(list(trainer.train_dataset)))
    loss.backward()
    ours = step(policy, reference, objective, rows)
    theirs = {name: values[0] for name, values in trainer._metrics["train"].items()}
    assert ours["loss"] == pytest.approx(loss.item(), abs=TOLERANCE)
    assert_same_metrics(ours, theirs, f"{REWARDS} {LOGPS} rewards/accuracies")
    assert_same_gradients(policy.model, trainer.model)


def test_conservative_dpo(
    policy: Policy, reference: Policy, rows: list[EncodedPreference], dataset: Any, settings: dict[str, Any]
) -> None:
    """TRL's own DPO no longer smooths; its ``aot`` on one pair, where there is nothing to sort, is the same formula."""
    arguments = {**settings, "beta": 0.1, "loss_type": "aot", "label_smoothing": 0.2}
    trainer = dpo_trainer(policy, reference, dataset, arguments)
    losses = [trainer.compute_loss(trainer.model, trainer.data_collator([row])) for row in trainer.train_dataset]
    loss = torch.stack(losses).mean()
    loss.backward()
    ours = step(policy, reference, DPO(label_smoothing=0.2), rows)
    assert ours["loss"] == pytest.approx(loss.item(), abs=TOLERANCE)
    assert_same_gradients(policy.model, trainer.model)


def test_log_probabilities_of_every_token(
    policy: Policy, reference: Policy, rows: list[EncodedPreference], dataset: Any, settings: dict[str, Any]
) -> None:
    trainer = dpo_trainer(policy, reference, dataset, settings)
    inputs = trainer.data_collator(list(trainer.train_dataset))
    labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
    asked = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"]}
    theirs = trainer.model(**asked, labels=labels, fused_lm_head=True).log_probs
    pairs = [row.pair for row in rows]
    batch = collate([*(pair[0] for pair in pairs), *(pair[1] for pair in pairs)], policy.pad_id)
    ours = policy.logps(batch)
    assert torch.equal(batch.input_ids * batch.attention_mask, inputs["input_ids"] * inputs["attention_mask"])
    assert torch.equal(batch.response_mask, inputs["completion_mask"].bool())
    assert ours[:, 0].eq(0).all()
    torch.testing.assert_close(ours[:, 1:], theirs, atol=TOLERANCE, rtol=TOLERANCE)
    torch.testing.assert_close(ours.sum(dim=1), theirs.sum(dim=1), atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.parametrize("weights", [(1.0, 1.0), (1.5, 0.5)], ids=["equal", "unequal"])
def test_kto(
    weights: tuple[float, float],
    policy: Policy,
    reference: Policy,
    data: ProductWorldData,
    settings: dict[str, Any],
) -> None:
    """On unpaired rows, five good and eight bad, with the mismatched responses that TRL gives them."""
    from datasets import Dataset
    from trl import KTOConfig, KTOTrainer

    judged = []
    for position, row in enumerate(data.preferences()):
        for side, label in zip(row.sides, (True, False), strict=True):
            if not label or position < 5:
                answer = [{"role": "assistant", "content": side.response}]
                judged.append({"prompt": as_messages(side.prompt), "completion": answer, "label": label})
    trainer = KTOTrainer(
        copy.deepcopy(policy.model),
        copy.deepcopy(reference.model),
        KTOConfig(
            **settings,
            beta=0.1,
            desirable_weight=weights[0],
            undesirable_weight=weights[1],
            per_device_train_batch_size=13,
        ),
        train_dataset=Dataset.from_list(judged),
        processing_class=policy.tokenizer,
    )
    loss = trainer.compute_loss(trainer.model, trainer.data_collator(list(trainer.train_dataset)))
    loss.backward()
    rows = []
    for each in trainer.train_dataset:
        prompt = each["prompt_ids"]
        own, other = (Encoded([*prompt, *each[name]], len(prompt)) for name in ("completion_ids", "KL_completion_ids"))
        chosen, rejected = (own, None) if each["label"] else (None, own)
        rows.append(EncodedPreference(chosen, rejected, "judged", mismatched=other))
    objective = KTO(beta=0.1, desirable_weight=weights[0], undesirable_weight=weights[1])
    ours = step(policy, reference, objective, rows)
    theirs = {name: values[0] for name, values in trainer._metrics["train"].items()}
    assert len(rows) == 13
    assert theirs["kl"] > 0.1
    assert ours["loss"] == pytest.approx(loss.item(), abs=TOLERANCE)
    assert_same_metrics(ours, theirs, f"{REWARDS} {LOGPS} kl")
    assert_same_gradients(policy.model, trainer.model)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_simpo(
    label_smoothing: float,
    policy: Policy,
    reference: Policy,
    rows: list[EncodedPreference],
    dataset: Any,
    settings: dict[str, Any],
) -> None:
    from trl.experimental.cpo import CPOConfig, CPOTrainer

    arguments = {"beta": 2.0, "simpo_gamma": 1.0, "cpo_alpha": 0.0, "label_smoothing": label_smoothing}
    trainer = CPOTrainer(
        copy.deepcopy(policy.model),
        CPOConfig(**settings, **arguments, loss_type="simpo", remove_unused_columns=False),
        train_dataset=dataset,
        processing_class=policy.tokenizer,
    )
    loss, theirs = trainer.get_batch_loss_metrics(trainer.model, trainer.data_collator(list(trainer.train_dataset)))
    loss.backward()
    ours = step(policy, reference, SimPO(beta=2.0, gamma_ratio=0.5, label_smoothing=label_smoothing), rows)
    assert ours["loss"] == pytest.approx(loss.item(), abs=TOLERANCE)
    assert_same_metrics(ours, theirs, f"{REWARDS} {LOGPS} rewards/accuracies")
    assert_same_gradients(policy.model, trainer.model)


def test_orpo(
    policy: Policy, reference: Policy, rows: list[EncodedPreference], dataset: Any, settings: dict[str, Any]
) -> None:
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    trainer = ORPOTrainer(
        copy.deepcopy(policy.model),
        ORPOConfig(**settings, beta=0.2, remove_unused_columns=False),
        train_dataset=dataset,
        processing_class=policy.tokenizer,
    )
    loss, theirs = trainer.get_batch_loss_metrics(trainer.model, trainer.data_collator(list(trainer.train_dataset)))
    loss.backward()
    ours = step(policy, reference, ORPO(beta=0.2, nll="trl"), rows)
    assert ours["loss"] == pytest.approx(loss.item(), abs=TOLERANCE)
    names = f"{REWARDS} {LOGPS} rewards/accuracies nll_loss log_odds_ratio log_odds_chosen"
    assert_same_metrics(ours, theirs, names)
    assert_same_gradients(policy.model, trainer.model)
    paper = step(policy, reference, ORPO(beta=0.2), rows)
    assert paper["nll_loss"] == pytest.approx(-theirs["logps/chosen"], abs=TOLERANCE)  # responses only, pair by pair


def dpo_trainer(policy: Policy, reference: Policy, dataset: Any, arguments: dict[str, Any]) -> Any:
    from trl import DPOConfig, DPOTrainer

    models = copy.deepcopy(policy.model), copy.deepcopy(reference.model)
    return DPOTrainer(*models, DPOConfig(**arguments), train_dataset=dataset, processing_class=policy.tokenizer)
