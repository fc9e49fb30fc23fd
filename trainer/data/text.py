"""From prompt and response to token ids, the same way in training, in sampling and in serving."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, cast

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from trainer.data.special_tokens import Marks, SpecialTokens
from trainer.errors import InvalidInput, OverlongInput

_TODAY = "{% macro strftime_now(format) %}26 Jul 2024{% endmacro %}"
"""What templates that write today's date are told in place of it, so that no score depends on the day: the date that
Llama 3.2's own template falls back to."""

Message = dict[str, str]
Prompt = str | list[Message]
OnOverlong = Literal["error", "truncate_prompt"]

PLAIN_TEMPLATE = (
    "{{ bos_token or '' }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ message['content'] }}{{ eos_token or '' }}"
    "{% else %}{{ message['content'] }}\n\n{% endif %}{% endfor %}"
)
"""For tokenizers that bring no chat template: turns separated by a blank line, the response ended by EOS."""


@dataclass(frozen=True)
class Encoded:
    """One pair as a model reads it. ``input_ids[response_start:]`` are the response's tokens, EOS included."""

    input_ids: list[int]
    response_start: int
    token_type_ids: list[int] | None = None
    truncated_tokens: int = 0
    """How many of the prompt's oldest tokens were dropped."""
    prompt_start: int = 0
    """Where the prompt's own tokens begin: after BOS or [CLS], which truncation spares."""

    @property
    def tokens(self) -> int:
        return len(self.input_ids)

    def with_prompt_within(self, max_tokens: int) -> "Encoded":
        """The same with the prompt's oldest tokens dropped until at most ``max_tokens`` precede the response."""
        excess = min(self.response_start - max_tokens, self.response_start - self.prompt_start)
        if excess <= 0:
            return self
        start, end = self.prompt_start, self.prompt_start + excess
        types = self.token_type_ids
        return replace(
            self,
            input_ids=[*self.input_ids[:start], *self.input_ids[end:]],
            response_start=self.response_start - excess,
            token_type_ids=None if types is None else [*types[:start], *types[end:]],
            truncated_tokens=self.truncated_tokens + excess,
        )


def as_messages(prompt: Prompt) -> list[Message]:
    """A plain prompt as the one user turn it is; a conversation unchanged.

    Raises InvalidInput for an empty prompt or conversation, or a turn that is not {role, content}.
    """
    if isinstance(prompt, str):
        if not prompt.strip():
            raise InvalidInput("the prompt is empty")
        return [{"role": "user", "content": prompt}]
    if not prompt:
        raise InvalidInput("the prompt has no messages")
    for message in prompt:
        if set(message) != {"role", "content"} or not message["content"].strip():
            raise InvalidInput("each message needs a role and non-empty content, and nothing else")
    return prompt


def as_text(prompt: Prompt) -> str:
    """A prompt as one string, for encoders and statistics that know no chat turns."""
    if isinstance(prompt, str):
        as_messages(prompt)
        return prompt
    messages = as_messages(prompt)
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in messages)


def check_prompt(prompt: Prompt) -> list[Message]:
    """The turns of a prompt that a model is to read. Raises InvalidInput as ``as_messages``, and for broken Unicode."""
    messages = as_messages(prompt)
    for message in messages:
        _check_unicode(message["content"], "prompt")
    return messages


def check_response(response: str) -> str:
    """Return ``response``, which a model is to read; raises InvalidInput if it is empty or broken Unicode."""
    if not response.strip():
        raise InvalidInput("the response is empty")
    return _check_unicode(response, "response")


def _check_unicode(text: str, what: str) -> str:
    """JSON can carry half of a surrogate pair, which has no UTF-8 and which no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"the {what} has half a surrogate pair at character {error.start}; give valid Unicode"
        ) from error
    return text


class ChatFormat:
    """A tokenizer's chat template, split into the prompt's tokens and the response's."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        if tokenizer.chat_template is None:
            tokenizer.chat_template = PLAIN_TEMPLATE
        self._special = SpecialTokens(tokenizer)

    @cached_property
    def _template(self) -> str | None:
        own = self.tokenizer.chat_template
        return _TODAY + own if isinstance(own, str) and "strftime_now" in own else None

    @property
    def template_hash(self) -> str:
        """First 16 hex digits of the template's sha256: equal hashes render equal text."""
        return hashlib.sha256(str(self.tokenizer.chat_template).encode()).hexdigest()[:16]

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """Token ids up to where the response begins."""
        messages, marks = self._special.marked(check_prompt(prompt))
        return self._tokenize(self._render(messages, add_generation_prompt=True), marks)

    def response_ids(self, prompt: Prompt, response: str) -> list[int]:
        """Token ids of the response and of what closes it: the template's end of turn, or EOS where it writes none.

        A policy that never sees a response end would never end one.
        """
        turns = [*as_messages(prompt), {"role": "assistant", "content": response}]
        messages, marks = self._special.marked(turns)
        opened = self._render(messages[:-1], add_generation_prompt=True)
        closed = self._render(messages, add_generation_prompt=False)
        if not closed.startswith(opened):
            raise InvalidInput("the chat template does not extend its own prompt; use a template that appends turns")
        return [*self._tokenize(closed[len(opened) :], marks), *self._missing_end]

    def encode(self, prompt: Prompt, response: str, max_tokens: int, on_overlong: OnOverlong) -> Encoded:
        """Ids of prompt and response within ``max_tokens``.

        Truncation drops the oldest prompt tokens after BOS, never any of the response. Raises OverlongInput where it
        is not allowed or could not help.
        """
        head = self.prompt_ids(prompt)
        tail = self.response_ids(prompt, response)
        begins = head[:1] == [self.tokenizer.bos_token_id]
        return fit(head, tail, max_tokens, on_overlong, int(begins))

    @cached_property
    def _missing_end(self) -> list[int]:
        """EOS, unless the template ends an assistant's turn with a special token of its own (or there is no EOS)."""
        said = "response"
        turns = [{"role": "user", "content": "prompt"}, {"role": "assistant", "content": said}]
        closing = self._tokenize(self._render(turns, add_generation_prompt=False).rpartition(said)[2])
        ends = self._special.ids - {self.tokenizer.bos_token_id} | {self.tokenizer.eos_token_id}
        eos = self.tokenizer.eos_token_id
        return [] if eos is None or ends & {*closing} else [int(eos)]

    def _render(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        try:
            rendered = self.tokenizer.apply_chat_template(
                list(messages),
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                chat_template=self._template,
            )
        except TemplateError as error:
            raise InvalidInput(f"the chat template refuses this conversation: {error}") from error
        return cast(str, rendered)

    def _tokenize(self, text: str, marks: Marks | None = None) -> list[int]:
        if marks:  # a tokenizer would have cut the text there as well
            parts = re.split(f"([{''.join(marks)}])", text)
            return [
                index
                for part in parts
                if part
                for index in (self._special.spelt_out(marks[part]) if part in marks else self._tokenize(part))
            ]
        # the template already wrote BOS and EOS: adding them again is the double-BOS trap
        return cast(list[int], self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def fit(head: list[int], tail: list[int], max_tokens: int, on_overlong: OnOverlong, prompt_start: int = 0) -> Encoded:
    """Join prompt ids ``head``, of which truncation spares the first ``prompt_start``, and response ids ``tail``.

    Raises OverlongInput where they exceed ``max_tokens`` and truncation is not allowed or would leave no prompt.
    """
    whole = Encoded([*head, *tail], len(head), prompt_start=prompt_start)
    excess = whole.tokens - max_tokens
    if excess > 0 and (on_overlong == "error" or excess >= len(head) - prompt_start):
        helps = excess < len(head) - prompt_start
        advice = 'shorten it or send "on_overlong": "truncate_prompt"' if helps else "shorten the response"
        raise OverlongInput(f"{whole.tokens} tokens exceed the model's {max_tokens}; {advice}")
    return whole.with_prompt_within(max_tokens - len(tail))


def pad_right(rows: Sequence[Sequence[int]], value: int) -> list[list[int]]:
    """Rows of equal length, filled up with ``value`` on the right."""
    width = max(len(row) for row in rows)
    return [[*row, *([value] * (width - len(row)))] for row in rows]


def pad_token_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """An id to pad with. Which one does not matter: masks, not ids, decide what is padding."""
    for candidate in (tokenizer.pad_token_id, tokenizer.eos_token_id, 0):
        if candidate is not None:
            return int(cast(Any, candidate))
    raise AssertionError("unreachable: zero is always an id")
