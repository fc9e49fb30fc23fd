"""A score depends on its pair alone: not on padding, on neighbours or on a trip to the disk."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from trainer.adversarial.settings import Adversarial
from trainer.adversarial.state import AdversarialState
from trainer.data.product_world import make_tokenizer, render_prompt, sample_examples
from trainer.errors import BrokenArtifact, InvalidInput, OverlongInput
from trainer.models.discriminator_pair import DiscriminatorPair
from trainer.models.discriminators import DiscriminatorConfig, LinearDiscriminator, TransformerDiscriminator
from trainer.models.latents import MaskChoice
from trainer.models.match_features import match_type_ids
from trainer.models.pair_model import PairModel
from trainer.models.policy import Policy, collate
from trainer.models.policy_scorer import PolicyScorer
from trainer.models.reward_model import RewardModel

PAIRS = [(render_prompt(e.task), e.response) for e in sample_examples("test", 12, seed=0)]


@pytest.fixture(scope="session")
def discriminators(policy: Policy) -> DiscriminatorPair:
    config = Adversarial(discriminator=TransformerDiscriminator(width=16, layers=1, heads=2, positions=64))
    networks = AdversarialState(config, 32, seed=0).networks
    return DiscriminatorPair(policy, networks, {"chosen": (0.1, 0.5), "rejected": (0.0, 2.0)}, "response")


@pytest.fixture(params=["encoder", "decoder", "discriminators", "implicit_reward"])
def model(request: pytest.FixtureRequest, policy: Policy) -> PairModel:
    if request.param == "implicit_reward":
        reference = Policy(AutoModelForCausalLM.from_config(policy.model.config).eval(), policy.tokenizer)
        return PolicyScorer(policy, reference)
    model: PairModel = request.getfixturevalue(request.param)
    return model


def test_a_score_does_not_depend_on_its_batch(model: PairModel) -> None:
    encoded = [model.encode(*pair) for pair in PAIRS]
    alone = torch.cat([model.score([row]) for row in encoded])
    together = model.score(encoded)
    backwards = model.score(encoded[::-1]).flip(0)
    assert alone.shape == (len(PAIRS), len(model.outputs))
    assert alone.dtype == torch.float32
    assert (alone - together).abs().max() <= 1e-4
    assert (alone - backwards).abs().max() <= 1e-4
    assert alone.std(dim=0).min() > 0


def test_an_empty_response_and_an_overlong_pair_are_refused(model: PairModel) -> None:
    with pytest.raises(InvalidInput, match="the response is empty"):
        model.encode("product mug | color red", " ")
    long = " ".join(["color red ;"] * 60)
    with pytest.raises(OverlongInput, match="truncate_prompt"):
        model.encode(long, "color is red .")
    cut = model.encode(long, "color is red .", "truncate_prompt")
    assert cut.tokens == model.max_tokens
    assert cut.truncated_tokens > 0
    assert torch.isfinite(model.score([cut])).all()


def test_the_implicit_reward_is_beta_times_the_gain_over_the_reference(policy: Policy) -> None:
    torch.manual_seed(3)
    reference = Policy(AutoModelForCausalLM.from_config(policy.model.config).eval(), policy.tokenizer)
    scorer = PolicyScorer(policy, reference, beta=0.5)
    row = scorer.encode(*PAIRS[0])
    ours, theirs = (
        PolicyScorer(each).score([row], ["mean_logprob"]).item() * (row.tokens - row.response_start)
        for each in (policy, reference)
    )
    found = dict(zip(scorer.outputs, scorer.score([row])[0].tolist(), strict=True))
    assert found == {
        "implicit_reward": pytest.approx(0.5 * (ours - theirs), abs=1e-4),
        "mean_logprob": pytest.approx(ours / (row.tokens - row.response_start), abs=1e-5),
        "sum_logprob": pytest.approx(ours, abs=1e-4),
        "reference_mean_logprob": pytest.approx(theirs / (row.tokens - row.response_start), abs=1e-5),
        "reference_sum_logprob": pytest.approx(theirs, abs=1e-4),
    }


def test_discriminator_outputs_follow_their_definitions(discriminators: DiscriminatorPair) -> None:
    encoded = [discriminators.encode(*pair) for pair in PAIRS[:3]]
    raw = discriminators.logits(encoded)
    scores = discriminators.score(encoded)
    assert torch.allclose(scores[:, 0], raw[:, 0])
    assert torch.allclose(scores[:, 1], -raw[:, 1])
    assert torch.allclose(scores[:, 2], (raw[:, 0] - 0.1) / 0.5 - raw[:, 1] / 2.0)


@pytest.mark.parametrize("mask", ["response", "prompt_and_response"])
@pytest.mark.parametrize("kind", ["transformer", "mlp", "linear", "last_token"])
def test_half_padding_moves_no_discriminators_logit(kind: str, mask: MaskChoice, policy: Policy) -> None:
    torch.manual_seed(0)
    network = TypeAdapter[Any](DiscriminatorConfig).validate_python({"kind": kind}).build(32)
    pair = DiscriminatorPair(policy, {"probe": network}, {}, mask)
    assert pair.outputs == ("probe",)
    short, long = pair.encode("mug", "color is red ."), pair.encode("mug " * 5, "color is red . " * 3)
    assert 2 * short.tokens <= long.tokens
    assert (pair.score([short, long])[0] - pair.score([short])[0]).abs() <= 1e-5


def test_discriminators_read_the_prompt_only_where_asked(policy: Policy) -> None:
    """A policy's latents of a response know its prompt; the prompt's own latents move the mean beyond that."""
    torch.manual_seed(0)
    network = LinearDiscriminator().build(32)
    row = policy.encode("product mug | color red", "color is red .")
    hidden = policy.hidden_states(collate([row], policy.pad_id))[0]
    for mask, read in (("response", hidden[row.response_start :]), ("prompt_and_response", hidden)):
        pair = DiscriminatorPair(policy, {"probe": network}, {}, mask)  # type: ignore[arg-type]
        with torch.no_grad():
            expected = network(read[None], torch.ones(1, len(read), dtype=torch.bool))
        assert pair.score([row]).item() == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_a_saved_reward_model_scores_the_same_and_loads_plainly(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    model: RewardModel = request.getfixturevalue(name)
    model.save(tmp_path)
    loaded = RewardModel.load(tmp_path, model.details())
    encoded = [model.encode(*pair) for pair in PAIRS]
    assert torch.equal(model.score(encoded), loaded.score(encoded))
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    row = encoded[0]
    inputs = {"input_ids": torch.tensor([row.input_ids])}
    if row.token_type_ids is not None:
        inputs["token_type_ids"] = torch.tensor([row.token_type_ids])
    with torch.inference_mode():
        assert plain(**inputs).logits.item() == pytest.approx(model.score([row]).item(), abs=1e-5)


def test_an_encoder_that_counts_positions_from_its_padding_id_reads_its_whole_window() -> None:
    tokenizer = make_tokenizer()
    config = RobertaConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=50, pad_token_id=0, type_vocab_size=2, num_labels=1,
    )  # fmt: skip
    roberta = RobertaForSequenceClassification(config).eval()
    model = RewardModel(roberta, tokenizer, architecture="encoder", pooling="cls")
    assert model.max_tokens == 49  # of 50 places the first belongs to padding
    cut = model.encode(" ".join(["red"] * 60), "color is red .", "truncate_prompt")
    assert cut.tokens == 49
    assert torch.isfinite(model.score([cut])).all()


def test_a_saved_policy_loads_plainly(policy: Policy, tmp_path: Path) -> None:
    policy.save(tmp_path)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    prompt, response = PAIRS[0]
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
    row = policy.encode(prompt, response)
    assert ids[0].tolist() == row.input_ids
    with torch.inference_mode():
        table = torch.log_softmax(plain(ids).logits[0].float(), dim=-1)
        ours = policy.logps(collate([row], policy.pad_id))[0]
    for position in range(row.response_start, row.tokens):
        assert ours[position].item() == pytest.approx(table[position - 1, ids[0, position]].item(), abs=1e-5)
    assert ours[: row.response_start].abs().sum() == 0


def test_a_missing_head_is_refused_rather_than_random(policy: Policy, tmp_path: Path) -> None:
    policy.save(tmp_path)
    details = {"architecture": "decoder", "pooling": "last_token", "match_features": False, "max_tokens": 96}
    with pytest.raises(BrokenArtifact, match=r"weights lack score\.weight"):
        RewardModel.load(tmp_path, details)


def test_pickled_weights_are_refused(policy: Policy, tmp_path: Path) -> None:
    policy.tokenizer.save_pretrained(tmp_path)
    policy.model.config.save_pretrained(tmp_path)
    torch.save(policy.model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(BrokenArtifact, match="is a pickle"):
        Policy.load(tmp_path)


def test_match_features_tell_where_a_word_reappears() -> None:
    #          cls  p1   p2   sep   r    .    r    r   sep
    ids =      [0,  10,  11,  1,   12,  5,   11,  12,  1]  # fmt: skip
    segments = [None, 0, 0, None,  1,   1,   1,   1, None]  # fmt: skip
    # p1 never reappears: 0; p2 is in the second sentence: 2; of the response only 11 is in the prompt: 10, else 9
    assert match_type_ids(ids, segments, sentence_end_id=5) == [0, 0, 2, 0, 9, 9, 10, 9, 0]


def test_a_decoders_padding_token_may_be_its_eos(decoder: RewardModel) -> None:
    plain = decoder.score([decoder.encode(*pair) for pair in PAIRS])
    tokenizer = decoder.tokenizer.__class__(
        tokenizer_object=decoder.tokenizer.backend_tokenizer, pad_token="<eos>", eos_token="<eos>"
    )
    tokenizer.chat_template = decoder.tokenizer.chat_template
    twin = RewardModel(decoder.model, tokenizer, architecture="decoder", pooling="last_token")
    assert torch.allclose(plain, twin.score([twin.encode(*pair) for pair in PAIRS]), atol=1e-5)
