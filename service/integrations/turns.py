"""Conversations as trainers hold them, read to the plain turns that a server scores."""

from collections.abc import Iterable, Mapping

from trainer.errors import InvalidInput

Turn = dict[str, str]
"""Role and content."""


def plain_turns(messages: object) -> list[Turn]:
    """The role and the text of each message, whatever else it carries.

    ``messages`` is a list or what a parquet file makes of one; a content is a text, None, or parts of
    `{"type": "text", "text": ...}`, which are joined by line breaks. Raises InvalidInput for anything that is no text.
    """
    if not isinstance(messages, Iterable) or isinstance(messages, Mapping):
        raise InvalidInput(f"a prompt is {str(messages)[:60]!r}; write a text or a list of messages")
    return [_plain(message) for message in messages]


def without_empty(turns: list[Turn]) -> list[Turn]:
    """A prompt without its empty turns, such as an assistant's that only calls a tool: no scorer reads those.

    One that is empty as a whole stays as it is, for the server to refuse.
    """
    return [turn for turn in turns if turn["content"].strip()] or turns


def _plain(message: object) -> Turn:
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        raise InvalidInput(f"a message is {str(message)[:60]!r}; write {{'role': ..., 'content': ...}}")
    content = message.get("content")
    if content is None or isinstance(content, str):
        return {"role": message["role"], "content": content or ""}
    if not isinstance(content, Iterable) or isinstance(content, bytes | Mapping):
        raise _no_text()
    return {"role": message["role"], "content": "\n".join(map(_text, content))}


def _text(part: object) -> str:
    if not isinstance(part, Mapping) or part.get("type") != "text" or not isinstance(part.get("text"), str):
        raise _no_text()
    return str(part["text"])


def _no_text() -> InvalidInput:
    return InvalidInput("scorers read texts only; a message holds something else")
