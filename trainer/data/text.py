"""From prompt and response to token ids, the same way in training, in sampling and in serving."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from transformers import PreTrainedTokenizerBase

from trainer.errors import InvalidInput, OverlongInput

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
    """How many of the prompt's oldest tokens were dropped to fit the window."""

    @property
    def tokens(self) -> int:
        return len(self.input_ids)


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


def check_response(response: str) -> str:
    """Return ``response``; raises InvalidInput if it is empty."""
    if not response.strip():
        raise InvalidInput("the response is empty")
    return response


class ChatFormat:
    """A tokenizer's chat template, split into the prompt's tokens and the response's."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        if tokenizer.chat_template is None:
            tokenizer.chat_template = PLAIN_TEMPLATE

    @property
    def template_hash(self) -> str:
        """First 16 hex digits of the template's sha256: equal hashes render equal text."""
        return hashlib.sha256(str(self.tokenizer.chat_template).encode()).hexdigest()[:16]

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """Token ids up to where the response begins."""
        return self._tokenize(self._render(as_messages(prompt), add_generation_prompt=True))

    def response_ids(self, prompt: Prompt, response: str) -> list[int]:
        """Token ids of the response and of what the template closes it with, such as EOS."""
        messages = as_messages(prompt)
        opened = self._render(messages, add_generation_prompt=True)
        closed = self._render([*messages, {"role": "assistant", "content": response}], add_generation_prompt=False)
        if not closed.startswith(opened):
            raise InvalidInput("the chat template does not extend its own prompt; use a template that appends turns")
        return self._tokenize(closed[len(opened) :])

    def encode(self, prompt: Prompt, response: str, max_tokens: int, on_overlong: OnOverlong) -> Encoded:
        """Ids of prompt and response within ``max_tokens``.

        Truncation drops the oldest prompt tokens, never any of the response. Raises OverlongInput where it is not
        allowed or could not help.
        """
        head = self.prompt_ids(prompt)
        tail = self.response_ids(prompt, response)
        return fit(head, tail, max_tokens, on_overlong)

    def _render(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        rendered = self.tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=add_generation_prompt
        )
        return cast(str, rendered)

    def _tokenize(self, text: str) -> list[int]:
        # the template already wrote BOS and EOS: adding them again is the double-BOS trap
        return cast(list[int], self.tokenizer(text, add_special_tokens=False)["input_ids"])


def fit(head: list[int], tail: list[int], max_tokens: int, on_overlong: OnOverlong) -> Encoded:
    """Join prompt ids ``head`` and response ids ``tail`` within ``max_tokens``; see ``ChatFormat.encode``."""
    excess = len(head) + len(tail) - max_tokens
    if excess > 0 and (on_overlong == "error" or excess >= len(head)):
        advice = (
            "shorten the response" if excess >= len(head) else 'shorten it or send "on_overlong": "truncate_prompt"'
        )
        raise OverlongInput(f"{len(head) + len(tail)} tokens exceed the model's {max_tokens}; {advice}")
    dropped = max(excess, 0)
    return Encoded([*head[dropped:], *tail], len(head) - dropped, truncated_tokens=dropped)


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
