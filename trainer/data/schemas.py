"""What a row's columns mean: the layouts of public preference data, recognised by the fields that are there.

A preference is one of

- ``prompt``, ``chosen``, ``rejected``: texts, or message lists. Message lists may hold the whole conversation, with or
  without a ``prompt`` beside them (UltraFeedback-binarised, SimPO's ArmoRM sets), or only the assistant's turn (TRL);
- ``prompt``, ``response``, ``label``: one response judged good (true) or bad (false), unpaired (KTO);
- ``prompt``, ``perturbed_prompt``, ``response``: two prompts for one response (GAPO).

A pair to imitate is ``prompt``, ``response``, or ``messages`` ending with the assistant's turn. ``completion`` is read
as ``response``. A prompt is a text or a message list. Other columns are left alone.
"""

import math
from typing import Any

from trainer.data.rows import Pair, Preference
from trainer.data.tables import Row
from trainer.data.text import Message, Prompt, check_prompt, check_response
from trainer.errors import InvalidInput


def read_pair(row: Row) -> Pair:
    """A row to imitate. Raises InvalidInput naming place and field."""
    if "messages" in row.content:
        context, response = _conversation(row, "messages")
        if not context:
            raise row.error("messages", "there is no turn before the assistant's")
        return Pair(_checked(row, "messages", context), response)
    return Pair(_prompt(row, "prompt"), _single_response(row))


def read_prompt(row: Row) -> Prompt:
    """What a row of any layout asks; its responses, if it has some, are not looked at but where they hold the prompt.

    Raises InvalidInput naming place and field.
    """
    if "messages" in row.content:
        turns = _messages(row, "messages")
        answered = bool(turns) and turns[-1]["role"] == "assistant"
        return _checked(row, "messages", turns[:-1] if answered else turns)
    if isinstance(row.content.get("chosen"), list):
        return _side(row, "chosen").prompt
    return _prompt(row, "prompt")


def read_preference(row: Row) -> Preference:
    """A row to prefer by. Raises InvalidInput naming place and field."""
    if "perturbed_prompt" in row.content:
        response = _single_response(row)
        perturbed = Pair(_prompt(row, "perturbed_prompt"), response)
        return Preference(Pair(_prompt(row, "prompt"), response), perturbed, "perturbed_prompt")
    if "label" in row.content and "chosen" not in row.content:
        pair = Pair(_prompt(row, "prompt"), _single_response(row))
        return Preference(pair, None) if _label(row) else Preference(None, pair)
    chosen, rejected = _side(row, "chosen"), _side(row, "rejected")
    if chosen.prompt != rejected.prompt:
        raise row.error("rejected", "its conversation differs from that of 'chosen' before the last turn")
    return Preference(chosen, rejected, margin=_margin(row))


def read_sides(row: Row) -> list[Pair]:
    """Every pair of a row of any layout, whether preferred, rejected or to imitate. Raises InvalidInput naming place
    and field."""
    if row.content.keys() & {"chosen", "rejected", "perturbed_prompt"}:
        return read_preference(row).sides
    return [read_pair(row)]


def _side(row: Row, field: str) -> Pair:
    """``chosen`` or ``rejected`` with the prompt it answers."""
    if not isinstance(row.content.get(field), list):
        return Pair(_prompt(row, "prompt"), _text(row, field))
    context, response = _conversation(row, field)
    prompt = row.content.get("prompt")
    if not context:
        return Pair(_prompt(row, "prompt"), response)
    if isinstance(prompt, list) and context[: len(prompt)] != (turns := _messages(row, "prompt")):
        context = [*turns, *context]
    return Pair(_checked(row, field, context), response)


def _single_response(row: Row) -> str:
    field = "completion" if "completion" in row.content and "response" not in row.content else "response"
    if not isinstance(row.content.get(field), list):
        return _text(row, field)
    context, response = _conversation(row, field)
    if context:
        raise row.error(field, "expected a text or the assistant's turn alone")
    return response


def _conversation(row: Row, field: str) -> tuple[list[Message], str]:
    """Turns before the assistant's last, and what it says there."""
    *context, last = _messages(row, field) or [{"role": "", "content": ""}]
    if last["role"] != "assistant":
        raise row.error(field, "its last turn is not the assistant's")
    return context, _response(row, field, last["content"])


def _messages(row: Row, field: str) -> list[Message]:
    turns = row.content.get(field)
    if not isinstance(turns, list) or not all(map(_is_message, turns)):
        raise row.error(field, "expected a list of {role, content}")
    return [{"role": turn["role"], "content": turn["content"]} for turn in turns]


def _is_message(turn: Any) -> bool:  # noqa: ANN401 - whatever the row holds
    # tables fill the keys a turn lacks with nulls
    return (
        isinstance(turn, dict)
        and {key for key, value in turn.items() if value is not None} == {"role", "content"}
        and isinstance(turn["role"], str)
        and isinstance(turn["content"], str)
    )


def _prompt(row: Row, field: str) -> Prompt:
    value = row.content.get(field)
    if field not in row.content:
        raise row.missing(field)
    if not isinstance(value, str) and not (isinstance(value, list) and all(map(_is_message, value))):
        raise row.error(field, "expected a string or a list of {role, content}")
    return _checked(row, field, value if isinstance(value, str) else _messages(row, field))


def _checked(row: Row, field: str, prompt: Prompt) -> Prompt:
    try:
        check_prompt(prompt)
    except InvalidInput as error:
        raise row.error(field, error.detail) from error
    return prompt


def _text(row: Row, field: str) -> str:
    if field not in row.content:
        raise row.missing(field)
    value = row.content[field]
    if not isinstance(value, str):
        raise row.error(field, "expected a string")
    return _response(row, field, value)


def _response(row: Row, field: str, text: str) -> str:
    try:
        return check_response(text)
    except InvalidInput as error:
        raise row.error(field, error.detail) from error


def _label(row: Row) -> bool:
    label = row.content["label"]
    if label not in (0, 1):
        raise row.error("label", "expected true or false")
    return bool(label)


def _margin(row: Row) -> float | None:
    """``margin`` where the row has one, else how far apart its two scores are."""
    if "margin" in row.content:
        return _number(row, "margin")
    better, worse = _number(row, "score_chosen"), _number(row, "score_rejected")
    return None if better is None or worse is None else better - worse


def _number(row: Row, field: str) -> float | None:
    value = row.content.get(field)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isinf(value):
        raise row.error(field, "expected a finite number")
    return float(value)
