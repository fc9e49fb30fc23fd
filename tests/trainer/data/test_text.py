"""Prompt and response become one sequence of tokens without doubled or lost specials."""

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from trainer.data.product_world import make_tokenizer
from trainer.data.text import ChatFormat, Encoded, as_text, fit
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


LLAMA = (
    "{{ bos_token }}{% for message in messages %} <turn> {{ message['content'] | trim }} {{ eos_token }}"
    "{% endfor %}{% if add_generation_prompt %} <turn> {% endif %}"
)


@pytest.mark.parametrize(
    ("template", "response"),
    [
        pytest.param(LLAMA, ["hi", "</s>"], id="closed-by-eos"),
        pytest.param(LLAMA.replace("{{ eos_token }}", "<end>"), ["hi", "<end>"], id="closed-by-a-special-of-its-own"),
        pytest.param(LLAMA.replace("{{ eos_token }}", "; "), ["hi", ";", "</s>"], id="closed-by-a-word"),
        pytest.param(LLAMA.replace("{{ eos_token }}", ""), ["hi", "</s>"], id="not-closed"),
        pytest.param(LLAMA.replace("{{ eos_token }}", "unheard-of"), ["hi", "<unk>", "</s>"], id="closed-by-no-token"),
    ],
)
def test_every_response_ends_once_in_what_stops_a_policy(template: str, response: list[str]) -> None:
    tokenizer = words("<turn>", "hello", "hi", ";", "<end>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<end>"]})
    tokenizer.chat_template = template
    encoded = ChatFormat(tokenizer).encode("hello", "hi", 100, "error")
    tokens = tokenizer.convert_ids_to_tokens(encoded.input_ids)
    assert tokens[encoded.response_start :] == response
    assert tokens.count("<s>") == 1
    assert tokens.index("<s>") == 0


def test_what_a_template_refuses_is_bad_input() -> None:
    tokenizer = words("hello")
    tokenizer.chat_template = "{{ raise_exception('System role not supported') }}"
    with pytest.raises(InvalidInput, match="the chat template refuses this conversation: System role not supported"):
        ChatFormat(tokenizer).prompt_ids("hello")


def test_truncation_drops_the_oldest_prompt_tokens_and_no_response() -> None:
    encoded = fit([1, 2, 3, 4], [8, 9], max_tokens=4, on_overlong="truncate_prompt")
    assert encoded.input_ids == [3, 4, 8, 9]
    assert (encoded.response_start, encoded.truncated_tokens) == (2, 2)


def test_truncation_spares_the_beginning_of_sequence() -> None:
    tokenizer = words("one", "two", "three", "yes")
    cut = ChatFormat(tokenizer).encode("one two three", "yes", 5, "truncate_prompt")
    assert tokenizer.convert_ids_to_tokens(cut.input_ids) == ["<s>", "two", "three", "yes", "</s>"]
    again = cut.with_prompt_within(2)
    assert tokenizer.convert_ids_to_tokens(again.input_ids) == ["<s>", "three", "yes", "</s>"]
    assert (again.response_start, again.truncated_tokens) == (2, 2)
    with pytest.raises(OverlongInput, match="shorten the response"):  # of the prompt only <s> would be left
        ChatFormat(tokenizer).encode("one two three", "yes", 3, "truncate_prompt")


def test_token_types_are_cut_with_their_tokens() -> None:
    row = Encoded([0, 1, 2, 3, 9, 8], 5, [7, 1, 2, 3, 7, 8], prompt_start=1)
    cut = row.with_prompt_within(3)
    assert (cut.input_ids, cut.token_type_ids, cut.response_start) == ([0, 3, 9, 8], [7, 3, 7, 8], 3)
    assert row.with_prompt_within(5) is row


def test_overlong_input_is_refused_unless_truncation_is_asked_for() -> None:
    with pytest.raises(OverlongInput, match=r"6 tokens exceed the model's 4; .*truncate_prompt"):
        fit([1, 2, 3, 4], [8, 9], max_tokens=4, on_overlong="error")
    with pytest.raises(OverlongInput, match="shorten the response"):
        fit([1], [2, 3, 4, 5, 6], max_tokens=4, on_overlong="truncate_prompt")


@pytest.mark.parametrize("prompt", ["", "  ", "half \ud83d", [], [{"role": "user", "content": ""}], [{"role": "user"}]])
def test_a_prompt_that_is_empty_or_no_unicode_is_refused(prompt: object) -> None:
    with pytest.raises(InvalidInput):
        ChatFormat(make_tokenizer()).prompt_ids(prompt)  # type: ignore[arg-type]


def test_a_conversation_reads_as_text_with_its_roles() -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    assert as_text(turns) == "user: a\n\nassistant: b\n\nuser: c"
    assert as_text(turns[:1]) == "a"


def test_a_template_that_writes_the_date_reads_the_same_on_every_day() -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = (
        "{{ strftime_now('%d %b %Y') }}{% for message in messages %} {{ message['content'] }}{% endfor %}"
    )
    rendered = ChatFormat(tokenizer)._render([{"role": "user", "content": "mug"}], add_generation_prompt=False)
    assert rendered == "26 Jul 2024 mug"
