"""Prompt and response become one sequence of tokens without doubled or lost specials."""

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from trainer.data.product_world import make_tokenizer
from trainer.data.text import ChatFormat, as_text, fit
from trainer.errors import InvalidInput, OverlongInput


def words(*names: str) -> PreTrainedTokenizerFast:
    """A tokenizer that, like Llama's, would itself put BOS in front."""
    vocabulary = {token: index for index, token in enumerate(["<s>", "</s>", "<unk>", *names])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def test_there_is_one_bos_and_one_eos() -> None:
    tokenizer = words("hello", "there", "hi")
    encoded = ChatFormat(tokenizer).encode("hello there", "hi", 100, "error")
    assert tokenizer.convert_ids_to_tokens(encoded.input_ids) == ["<s>", "hello", "there", "hi", "</s>"]
    assert encoded.input_ids[encoded.response_start :] == tokenizer.convert_tokens_to_ids(["hi", "</s>"])


def test_a_conversation_and_a_string_mean_the_same_prompt() -> None:
    chat = ChatFormat(make_tokenizer())
    assert chat.prompt_ids("product mug") == chat.prompt_ids([{"role": "user", "content": "product mug"}])


def test_truncation_drops_the_oldest_prompt_tokens_and_no_response() -> None:
    encoded = fit([1, 2, 3, 4], [8, 9], max_tokens=4, on_overlong="truncate_prompt")
    assert encoded.input_ids == [3, 4, 8, 9]
    assert (encoded.response_start, encoded.truncated_tokens) == (2, 2)


def test_overlong_input_is_refused_unless_truncation_is_asked_for() -> None:
    with pytest.raises(OverlongInput, match=r"6 tokens exceed the model's 4; .*truncate_prompt"):
        fit([1, 2, 3, 4], [8, 9], max_tokens=4, on_overlong="error")
    with pytest.raises(OverlongInput, match="shorten the response"):
        fit([1], [2, 3, 4, 5, 6], max_tokens=4, on_overlong="truncate_prompt")


@pytest.mark.parametrize("prompt", ["", "  ", [], [{"role": "user", "content": ""}], [{"role": "user"}]])
def test_an_empty_prompt_is_refused(prompt: object) -> None:
    with pytest.raises(InvalidInput):
        ChatFormat(make_tokenizer()).prompt_ids(prompt)  # type: ignore[arg-type]


def test_a_conversation_reads_as_text_with_its_roles() -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    assert as_text(turns) == "user: a\n\nassistant: b\n\nuser: c"
    assert as_text(turns[:1]) == "a"
