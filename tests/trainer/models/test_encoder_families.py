"""Encoders of the common families as reward models, each with a tokenizer of its own kind, dropout and padding id."""

from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertTokenizerFast,
    DebertaV2Config,
    LongformerConfig,
    ModernBertConfig,
    PretrainedConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaTokenizerFast,
)

from trainer.errors import InvalidInput
from trainer.models.quantised_reward_model import QuantisedRewardModel
from trainer.models.reward_model import Reads, RewardModel
from trainer.models.starting_point import BackboneOrigin
from trainer.recipes.adversarial_batches import Labelled
from trainer.recipes.live_reward_model import LiveRewardModel, LiveSettings

# earlier transformers script parts of DeBERTa, which later torch warns of
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
WORDS = ["its", "color", "is", "red", "blue", "big", ".", "product", "mug", "lamp", "|", ";", "size", *"abcdefgh"]
BYTES = [*(chr(code) for code in range(33, 127)), "Ġ"]
WINDOW = 128
PAIRS = [
    ("a b", "its color is red ."),
    ("product mug | color red ; size big", "is big ."),
    ("lamp | size big ; color blue ; a b c", "its color is blue . its size is big . a b c d ."),
]
PADDED = {"bert": 0, "roberta": 1, "longformer": 1, "deberta-v2": 0, "modernbert": 4}
FAMILIES = list(PADDED)
BLIND_TO_PLACES = ["roberta", "longformer", "deberta-v2", "modernbert"]
"""Their positions are counted from the first real token, or are relative; BERT's are places in the row."""


def tokenizer(family: str) -> PreTrainedTokenizerBase:
    if family in ("roberta", "longformer"):
        letters = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *BYTES]
        return RobertaTokenizerFast(vocab={letter: index for index, letter in enumerate(letters)}, merges=[])
    if family != "modernbert":
        specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        return BertTokenizerFast(vocab={word: index for index, word in enumerate([*specials, *WORDS])})
    vocabulary = {word: index for index, word in enumerate(["[UNK]", "[CLS]", "[SEP]", "[MASK]", "[PAD]", *WORDS])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **names)


def configuration(family: str, vocabulary: int, **changes: Any) -> PretrainedConfig:
    shape: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": WINDOW + PADDED[family] + 1,
        "num_labels": 1,
        "pad_token_id": PADDED[family],
        **changes,
    }
    match family:
        case "bert":
            return BertConfig(**shape)
        case "roberta":
            return RobertaConfig(**shape, type_vocab_size=1)
        case "longformer":
            return LongformerConfig(**{"attention_window": 8, **shape}, type_vocab_size=1)
        case "deberta-v2":  # as its third version has it
            relative = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8}
            return DebertaV2Config(
                **shape, **relative, position_biased_input=False, type_vocab_size=0, pooler_hidden_size=16
            )
    return ModernBertConfig(**shape, cls_token_id=1, sep_token_id=2, mlp_dropout=0.1, attention_dropout=0.1)


def build(family: str, pooling: Literal["cls", "mean"] = "cls", reads: Reads = "pair", **changes: Any) -> RewardModel:
    torch.manual_seed(0)
    words = tokenizer(family)
    model = AutoModelForSequenceClassification.from_config(configuration(family, len(words), **changes)).eval()
    for parameter in model.parameters():  # some start their head or norms at zero
        torch.nn.init.normal_(parameter, std=0.3)
    return RewardModel(model, words, architecture="encoder", pooling=pooling, reads=reads)


def tokens(model: RewardModel, ids: list[int]) -> str:
    return " ".join(model.tokenizer.convert_ids_to_tokens(ids))


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("bert", "[CLS] a b [SEP] is red . [SEP]"),
        ("deberta-v2", "[CLS] a b [SEP] is red . [SEP]"),
        ("modernbert", "[CLS] a b [SEP] is red . [SEP]"),
        ("roberta", "<s> a Ġ b </s> </s> i s Ġ r e d Ġ . </s>"),
        ("longformer", "<s> a Ġ b </s> </s> i s Ġ r e d Ġ . </s>"),
    ],
)
def test_two_segments_stand_in_the_familys_own_special_tokens(family: str, expected: str) -> None:
    model = build(family)
    row = model.encode("a b", "is red .")
    assert tokens(model, row.input_ids) == expected
    assert tokens(model, row.input_ids[row.response_start :]).startswith("i")
    assert row.token_type_ids == ([0, 0, 0, 0, 1, 1, 1, 1] if family == "bert" else None)


@pytest.mark.parametrize(
    ("family", "name", "expected"),
    [
        ("bert", "[SEP]", "[CLS] a [SEP] [UNK] [UNK] [UNK] b [SEP]"),
        ("deberta-v2", "[SEP]", "[CLS] a [SEP] [UNK] [UNK] [UNK] b [SEP]"),
        ("roberta", "</s>", "<s> a </s> </s> < / s > b </s>"),
    ],
)
def test_what_a_text_calls_a_special_token_is_text(family: str, name: str, expected: str) -> None:
    model = build(family)
    assert tokens(model, model.encode("a", f"{name}b").input_ids) == expected


def test_a_name_that_has_no_other_spelling_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"the text contains \[SEP\], which this model reads as a control token"):
        build("modernbert").encode("a [SEP] b", "is red .")


@pytest.mark.parametrize("family", ["roberta", "longformer"])
def test_positions_are_counted_from_after_the_padding_id(family: str) -> None:
    model = build(family)
    seen: list[Tensor] = []
    embeddings = next(part for name, part in model.model.named_modules() if name.endswith("position_embeddings"))
    embeddings.register_forward_hook(lambda part, inputs, output: seen.append(inputs[0]))
    row, longer = model.encode(*PAIRS[0]), model.encode(*PAIRS[1])
    assert row.tokens < longer.tokens
    model.network(model.collate([row, longer]))
    positions = seen[0][0].tolist()
    assert positions[: row.tokens] == list(range(2, row.tokens + 2))
    assert set(positions[row.tokens :]) == {1}
    assert model.max_tokens == WINDOW  # of 130 places two are the padding's


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_padding_on_the_right_moves_no_score(family: str, pooling: Literal["cls", "mean"]) -> None:
    model = build(family, pooling)
    rows = [model.encode(*pair) for pair in PAIRS]
    alone = torch.cat([model.score([row]) for row in rows])
    assert (model.score(rows) - alone).abs().max() <= 1e-4
    assert alone.std() > 3e-4  # texts differ by more than padding may


@pytest.mark.parametrize("family", BLIND_TO_PLACES)
def test_padding_on_the_left_moves_no_score(family: str) -> None:
    model = build(family, "mean")
    row = model.encode(*PAIRS[0])
    inputs = model.collate([row, model.encode(*PAIRS[2])])
    excess = inputs["input_ids"].shape[1] - row.tokens
    assert excess > 5
    left = {name: torch.cat([tensor[:1].roll(excess, 1), tensor[1:]]) for name, tensor in inputs.items()}
    with torch.inference_mode():
        assert abs(model.network(left)[0] - model.score([row])[0, 0]) <= 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_a_trained_step_drops_out_and_a_score_does_not(family: str, tmp_path: Path) -> None:
    model = build(family)
    rows = [model.encode(*pair) for pair in PAIRS]
    inputs = model.collate(rows)
    model.network.train()
    with torch.no_grad():
        assert not torch.equal(model.network(inputs), model.network(inputs))
    live = LiveRewardModel(model, LiveSettings.model_validate({"optimizer": {"learning_rate": 1e-2}}), steps=4)
    before = {name: weight.clone() for name, weight in model.model.state_dict().items()}
    live.step([Labelled(row, 1.0, "accepted") for row in rows], 1)
    moved = [name for name, weight in model.model.state_dict().items() if not torch.equal(weight, before[name])]
    assert len(moved) > 10
    scores = model.score(rows)
    assert torch.equal(scores, model.score(rows))
    model.save(tmp_path)
    loaded = RewardModel.load(tmp_path, model.details())
    assert [loaded.encode(*pair) for pair in PAIRS] == rows
    assert torch.allclose(loaded.score(rows), scores, atol=1e-6)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    with torch.inference_mode():
        assert torch.allclose(plain(**inputs).logits, scores, atol=1e-5)


@pytest.mark.parametrize("family", ["roberta", "longformer"])
def test_a_tokenizer_that_pads_with_another_id_moves_no_position(family: str, tmp_path: Path) -> None:
    usual = build(family)
    rows = [usual.encode(*pair) for pair in PAIRS]
    other = tokenizer(family)
    other.pad_token = "<unk>"
    model = RewardModel(usual.model, other, architecture="encoder", pooling="cls")
    assert torch.equal(model.score(rows), usual.score(rows))
    model.save(tmp_path)
    assert torch.allclose(RewardModel.load(tmp_path, model.details()).score(rows), usual.score(rows), atol=1e-6)


def last_state(model: RewardModel, prompt: str, response: str) -> tuple[Tensor, Tensor]:
    """What the backbone makes of the last token, and the score, of a text that a longer one pads."""
    seen: list[Tensor] = []
    hook = model.model.base_model.register_forward_hook(lambda part, inputs, output: seen.append(output[0]))
    row = model.encode(prompt, response)
    score = model.score([row, model.encode(prompt, response + " a b c d")])[0]
    hook.remove()
    return seen[0][0, row.tokens - 1], score


def test_longformers_responses_see_the_prompt_beyond_their_window() -> None:
    model = build("longformer", num_hidden_layers=1, attention_window=4)
    prompt, response = "a b c d e f", "a b c d e f g h"
    state, score = last_state(model, prompt, response)
    other_prompt, other_score = last_state(model, "h" + prompt[1:], response)
    assert (state - other_prompt).abs().max() > 1e-3  # more than twenty tokens away
    assert (score - other_score).abs() > 1e-5
    other_response, another_score = last_state(model, prompt, "h" + response[1:])
    assert torch.equal(state, other_response)  # beyond a window of two to either side
    assert (score - another_score).abs() > 1e-5  # but [CLS] sees it


def test_longformers_global_tokens_are_cls_and_the_prompt() -> None:
    model = build("longformer")
    rows = [model.encode("a b", "is red ."), model.encode("a", "is .")]
    seen = model.collate(rows)["global_attention_mask"].tolist()
    # <s> a Ġ b </s> </s> and <s> a </s> </s>
    assert seen == [[1] * 6 + [0] * 9, [1] * 4 + [0] * 11]
    assert "global_attention_mask" not in build("roberta").collate(rows)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_control_reads_one_side_alone(family: str, tmp_path: Path) -> None:
    for reads in ("prompt", "response"):
        model = build(family, reads=reads)
        (row, other_prompt, other_response) = (
            model.encode(*pair) for pair in (("a b", "is red ."), ("a c", "is red ."), ("a b", "is big ."))
        )
        text = "a b" if reads == "prompt" else "is red ."
        assert tokens(model, row.input_ids[1:-1]) == " ".join(model.tokenizer.tokenize(text))
        same, other = (other_response, other_prompt) if reads == "prompt" else (other_prompt, other_response)
        assert row == same
        assert row.response_start == (row.tokens if reads == "prompt" else 1)
        scores = model.score([row, other])
        assert abs(scores[0] - scores[1]) > 1e-4
        model.save(tmp_path)
        loaded = RewardModel.load(tmp_path, model.details())
        assert loaded.encode("a b", "is red .") == row
        assert loaded.template_hash == f"{reads}-alone"
        cut = model.encode("a " * 2 * WINDOW, "is red .", "truncate_prompt")
        left = model.max_tokens if reads == "prompt" else row.tokens
        assert (cut.tokens, cut.truncated_tokens > 0) == (left, reads == "prompt")


def test_controls_are_encoders_that_match_nothing() -> None:
    with pytest.raises(ValueError, match="reads prompt needs an encoder without match_features"):
        BackboneOrigin(path="./model", architecture="decoder", reads="prompt")
    with pytest.raises(ValueError, match="reads response needs an encoder"):
        BackboneOrigin.model_validate({"scratch": {}, "match_features": True, "reads": "response"})


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("family", FAMILIES)
def test_scores_in_8_bits_follow_those_of_the_floats(
    family: str, pooling: Literal["cls", "mean"], tmp_path: Path
) -> None:
    model = build(family, pooling)
    model.save(tmp_path)
    quantised = QuantisedRewardModel.load(tmp_path, model.details())
    rows = [model.encode(prompt, response) for prompt, _ in PAIRS for _, response in PAIRS]

    floats, integers = model.score(rows)[:, 0], quantised.score(rows)[:, 0]

    assert quantised.layers >= 8
    # these scores are of the order of 1 and, of random weights, hardly differ between pairs
    assert 0 < float((integers - floats).abs().max()) < 0.02
