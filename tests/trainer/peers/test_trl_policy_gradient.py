"""The clipped surrogate and the k3 estimate, per token and in their gradients, are those of TRL 1.16.0's GRPOTrainer.

To 1e-5 in float32. That version has no PPO any more: its critic, GAE and whitening have no peer to compare with here.
"""

import copy
from typing import Any

import pytest
import torch

from trainer.data.sources import ProductWorldData
from trainer.models.policy import Policy, collate
from trainer.policy_gradient import clipped_surrogate, kl_estimate, masked_mean

pytest.importorskip("trl", reason="the peer these tests compare with is not installed")
pytestmark = [
    # touched by TRL; transformers renames it in its version 6
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
]
TOLERANCE = 1e-5
CLIP = 0.2


@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_the_loss_of_a_minibatch_and_its_gradients(
    beta: float, policy: Policy, reference: Policy, data: ProductWorldData, settings: dict[str, Any]
) -> None:
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    rows = [policy.encode(pair.prompt, pair.response) for pair in data.pairs()]
    batch = collate(rows, policy.pad_id)
    mask = batch.response_mask
    torch.manual_seed(0)
    with torch.no_grad():  # not far from the policy, on both sides of the clip
        behaviour = policy.logps(batch) + 0.3 * torch.randn(mask.shape)
        held = reference.logps(batch)
    advantages = torch.randn(mask.shape)

    settings.pop("max_length")
    trainer = GRPOTrainer(
        copy.deepcopy(policy.model),
        reward_funcs=lambda **_: [],
        args=GRPOConfig(
            **settings,
            loss_type="bnpo",
            epsilon=CLIP,
            num_generations=2,
            generation_batch_size=8,
            use_bias_correction_kl=False,  # it multiplies k3 by the ratio to the behaviour policy; ours is k3 itself
        ),
        train_dataset=Dataset.from_list([{"prompt": "product mug"}]),
        processing_class=policy.tokenizer,
    )
    trainer.beta = beta  # as an argument it would load a reference by the model's name; ours is given below
    trainer.current_gradient_accumulation_steps = 1
    longest = max(row.response_start for row in rows)
    width = max(row.tokens - row.response_start for row in rows)
    inputs: dict[str, list[torch.Tensor]] = {}
    for index, row in enumerate(rows):
        start, end = row.response_start, row.tokens
        ids = torch.tensor(row.input_ids)
        padded = {
            "prompt_ids": torch.nn.functional.pad(ids[:start], (longest - start, 0), value=policy.pad_id),
            "prompt_mask": torch.tensor([0] * (longest - start) + [1] * start),
            "completion_ids": torch.nn.functional.pad(ids[start:], (0, width - end + start), value=policy.pad_id),
            "completion_mask": torch.tensor([1] * (end - start) + [0] * (width - end + start)),
        }
        for name, whole in (
            ("old_per_token_logps", behaviour),
            ("ref_per_token_logps", held),
            ("advantages", advantages),
        ):
            padded[name] = torch.nn.functional.pad(whole[index, start:end], (0, width - end + start))
        for name, tensor in padded.items():
            inputs.setdefault(name, []).append(tensor)
    expected = trainer._compute_loss(trainer.model, {name: torch.stack(parts) for name, parts in inputs.items()})
    expected.backward()

    logps = policy.logps(batch)
    losses = clipped_surrogate(logps, behaviour, advantages, CLIP) + beta * kl_estimate(logps, held, "k3")
    loss = masked_mean(losses, mask)
    loss.backward()
    ratio = (logps - behaviour).exp()[mask]
    assert bool((ratio > 1 + CLIP).any())
    assert bool((ratio < 1 - CLIP).any())
    assert loss.item() == pytest.approx(expected.item(), abs=TOLERANCE)
    theirs = dict(trainer.model.named_parameters())
    compared = 0
    for name, parameter in policy.model.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 1e-5, name
        torch.testing.assert_close(parameter.grad, theirs[name].grad, atol=TOLERANCE, rtol=TOLERANCE, msg=name)
        compared += 1
    assert compared > 10
