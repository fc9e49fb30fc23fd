"""Rollouts are fresh every round, repeatable, and recomputed with what training will differentiate."""

import copy

import pytest
import torch

from trainer.data.product_world import make_tokenizer
from trainer.errors import InvalidInput, OverlongInput, Stopped
from trainer.models.policy import Policy, collate
from trainer.models.starting_point import PolicyOrigin, Scratch
from trainer.models.value_head import ActorCritic
from trainer.rollouts import PolicyPrompt, Rollout, encode_prompts, recompute, sample_rollouts

TEXTS = ["product mug | color red ; size big", "product lamp | color blue", "product mug | color red"]


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    from trainer.artifacts import ArtifactStore

    shape = Scratch(hidden_size=32, layers=2, heads=2, max_tokens=64)
    made, _ = PolicyOrigin(scratch=shape).open(ArtifactStore(tmp_path_factory.mktemp("store")), seed=0)
    made.model.eval()
    return made


@pytest.fixture(scope="module")
def prompts(policy: Policy) -> list[PolicyPrompt]:
    return encode_prompts(policy, TEXTS, 40)


def sample(policy: Policy, prompts: list[PolicyPrompt], draw: int = 0, seed: int = 0) -> list[Rollout]:
    return sample_rollouts(policy, prompts, replicates=4, seed=seed, draw=draw, max_response_tokens=40)


def texts(rollouts: list[Rollout]) -> list[str]:
    return [rollout.response for rollout in rollouts]


def test_each_draw_and_seed_meets_other_noise_and_the_same_one_the_same(
    policy: Policy, prompts: list[PolicyPrompt]
) -> None:
    first = texts(sample(policy, prompts))
    assert first == texts(sample(policy, prompts))
    assert len({*first, *texts(sample(policy, prompts, draw=1)), *texts(sample(policy, prompts, seed=1))}) == 36


def test_a_rollout_does_not_depend_on_the_prompts_beside_it(policy: Policy, prompts: list[PolicyPrompt]) -> None:
    assert texts(sample(policy, prompts[1:2])) == texts(sample(policy, prompts))[4:8]


def test_a_prompts_replicates_stand_together_and_hold_what_was_sampled(
    policy: Policy, prompts: list[PolicyPrompt]
) -> None:
    rollouts = sample_rollouts(policy, prompts, replicates=30, seed=0, draw=0, max_response_tokens=40)
    assert [rollout.prompt.index for rollout in rollouts] == [0] * 30 + [1] * 30 + [2] * 30
    for rollout in rollouts:
        start = rollout.encoded.response_start
        assert tuple(rollout.encoded.input_ids[:start]) == rollout.prompt.ids
        response = rollout.encoded.input_ids[start:]
        assert rollout.ended == (response[-1] == policy.eos_ids[0])
        assert rollout.ended or len(response) == 40
        assert policy.tokenizer.decode(response, skip_special_tokens=True) == rollout.response
    assert {rollout.ended for rollout in rollouts} == {True, False}


def test_tokens_are_drawn_from_the_policys_distribution(policy: Policy, prompts: list[PolicyPrompt]) -> None:
    drawn = sample_rollouts(policy, prompts[:1], replicates=1500, seed=5, draw=0, max_response_tokens=1)
    with torch.no_grad():
        logits = policy.model(torch.tensor([prompts[0].ids])).logits[0, -1]
    expected = torch.softmax(logits, dim=0)
    counts = torch.bincount(torch.tensor([r.encoded.input_ids[-1] for r in drawn]), minlength=len(expected))
    spread = (expected * (1 - expected) / 1500).sqrt()
    assert bool(((counts / 1500 - expected).abs() < 5 * spread + 1e-3).all())


def test_recomputed_logps_are_those_of_each_response_alone(policy: Policy, prompts: list[PolicyPrompt]) -> None:
    rollouts = sample(policy, prompts)
    actor = ActorCritic(policy, "detached")
    torch.nn.init.normal_(actor.head.weight)
    other = Policy(copy.deepcopy(policy.model), make_tokenizer())
    with torch.no_grad():
        other.model.get_input_embeddings().weight.mul_(0.5)
    table = recompute(rollouts, actor, other.logps, pad_id=policy.pad_id, device=policy.device, micro=5)
    for index, rollout in enumerate(rollouts):
        batch = collate([rollout.encoded], policy.pad_id)
        length = rollout.encoded.tokens
        one = table.rows([index], length)
        torch.testing.assert_close(one.logps, policy.logps(batch).detach(), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(one.reference_logps, other.logps(batch).detach(), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(one.values, actor(batch)[1].detach(), atol=1e-5, rtol=1e-5)
        assert torch.equal(one.mask, batch.response_mask)
        assert not bool(table.mask[index, length:].any())
    # with the batches of training, ratios of the policy to itself are 1 to the last bit
    again = actor(collate([rollout.encoded for rollout in rollouts[:5]], policy.pad_id))[0]
    assert torch.equal(again, table.rows(range(5), again.shape[1]).logps)


def test_prompts_that_cannot_be_used_are_named(policy: Policy) -> None:
    with pytest.raises(InvalidInput, match="prompt 2: the prompt is empty"):
        encode_prompts(policy, ["product mug", " "], 8)
    with pytest.raises(OverlongInput, match=r"prompt 1 has 10 tokens; with max_response_tokens=60 .* room for 4"):
        encode_prompts(policy, TEXTS, 60)


def test_sampling_is_abandoned_as_responses_end(
    policy: Policy, prompts: list[PolicyPrompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.generation.decoding._SECONDS_BETWEEN_YIELDS", 0.0)
    told: list[str] = []

    def between(doing: str) -> None:
        told.append(doing)
        if len(told) == 2:
            raise Stopped("enough")

    with pytest.raises(Stopped, match="enough"):
        sample_rollouts(policy, prompts, replicates=400, seed=0, draw=0, max_response_tokens=1, between=between)
    assert told == ["400 of 1200 responses", "800 of 1200 responses"]
