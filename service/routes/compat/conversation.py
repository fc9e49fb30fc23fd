"""A prompt and its response, found in one text: several servers are sent both as their policy's template wrote them.

A scorer writes pairs by its own template, so the turns are read back to messages. Templates are told apart by the
marks that open a turn; whatever has none is plain text.
"""

import re
from itertools import islice

from service.score_schema import MAX_CHARACTERS, Message, PromptText, ScoreItem
from trainer.errors import InvalidInput

MAX_TURNS = 1024

_ROLES = {"model": "assistant", "[INST]": "user", "[/INST]": "assistant"}
"""What the marks call the roles, where that is not their name."""

_OPENINGS = (
    re.compile(r"<\|im_start\|>([A-Za-z_-]{1,32})\n"),  # ChatML: Qwen, SmolLM, Yi
    re.compile(r"<\|start_header_id\|>([A-Za-z_-]{1,32})<\|end_header_id\|>\n\n"),  # Llama 3
    re.compile(r"<start_of_turn>(user|model)\n"),  # Gemma
    re.compile(r"<\|(system|user|assistant)\|>\n?"),  # Zephyr, Phi, GLM
    re.compile(r"(\[/?INST\]) ?"),  # Mistral, Llama 2
)
"""What opens a turn, in families of chat templates; the group is the role."""

_BEGINNINGS = ("<s>", "<bos>", "<|begin_of_text|>", "[gMASK]", "<sop>", "<|endoftext|>", "<pad>", "<|pad|>")
_ENDS = (
    "<|im_end|>",
    "<|eot_id|>",
    "<|end_of_text|>",
    "<|endoftext|>",
    "<end_of_turn>",
    "<|end|>",
    "</s>",
    "<eos>",
    "<pad>",
    "<|pad|>",
    "<|finetune_right_pad_id|>",
)


def pair_in(text: str) -> ScoreItem:
    """Prompt and response of a whole conversation: the response is its last turn, which is an assistant's.

    Raises InvalidInput for a text without such turns.
    """
    turns = _turns(text)
    if turns is None:
        raise InvalidInput(
            "cannot tell where the response begins: send prompt and response apart, or a conversation as a chat "
            "template writes it (ChatML, Llama, Gemma, Zephyr or Mistral marks)"
        )
    *before, (role, response) = turns
    if role != "assistant" or not before:
        raise InvalidInput(f"the conversation ends with the {role}'s turn: a prompt and an assistant's are needed")
    return ScoreItem(prompt=_messages(before), response=without_end(response))


def pair_after(prompt: str, text: str) -> ScoreItem:
    """The response is what follows ``prompt`` in ``text``, where nothing but special tokens may precede it.

    A prompt that is not there as it was sent, because its oldest tokens were cut, leaves the marks of a chat template
    to find the response by. Raises InvalidInput where there are none.
    """
    for wanted in (prompt, prompt.strip()):
        start = text.find(wanted)
        if wanted and start >= 0 and not _without_beginning(text[:start]):
            return _opened(wanted, text[start + len(wanted) :])
    if _turns(text) is None:
        raise InvalidInput("the text does not begin with its prompt, so its response cannot be told")
    return pair_in(text)


def pair_of(prompt: str, response: str) -> ScoreItem:
    """The two, sent apart as a template wrote them."""
    return _opened(prompt, response)


def messages_pair(messages: list[Message]) -> ScoreItem:
    """The response is the last message. Raises InvalidInput where that is not an assistant's."""
    if len(messages) < 2 or messages[-1].role != "assistant":
        raise InvalidInput("the last message is the response that is scored: role assistant, after a prompt's messages")
    return ScoreItem(prompt=messages[:-1], response=messages[-1].content)


def without_end(response: str) -> str:
    """The response without the special tokens that close it."""
    stop = len(response)
    while True:
        bare = stop
        while bare and response[bare - 1].isspace():
            bare -= 1
        end = next((end for end in _ENDS if response.endswith(end, 0, bare)), None)
        if end is None:
            return response[:stop]
        stop = bare - len(end)


def _opened(prompt: str, response: str) -> ScoreItem:
    """A prompt that a template may have written, whose last turn is then open: what it says already is response."""
    turns = _turns(prompt)
    plain: PromptText = prompt
    if turns is not None and turns[-1][0] == "assistant" and len(turns) > 1:
        *before, (_, begun) = turns
        plain, response = _messages(before), begun + response
    return ScoreItem(prompt=plain, response=without_end(response))


def _messages(turns: list[tuple[str, str]]) -> PromptText:
    return [Message(role=role, content=without_end(content).strip()) for role, content in turns]


def _turns(text: str) -> list[tuple[str, str]] | None:
    """(role, content) of each turn, or None for a text that does not begin with one."""
    if len(text) > 2 * MAX_CHARACTERS:
        raise InvalidInput(f"the text has {len(text)} characters, at most {2 * MAX_CHARACTERS} are read")
    body = _without_beginning(text)
    for opens in _OPENINGS:
        if not opens.match(body):
            continue
        openings = list(islice(opens.finditer(body), MAX_TURNS + 1))
        if len(openings) > MAX_TURNS:
            raise InvalidInput(f"the conversation has more than {MAX_TURNS} turns")
        ends = [opening.start() for opening in openings[1:]] + [len(body)]
        return [
            (_ROLES.get(opening[1], opening[1]), body[opening.end() : end])
            for opening, end in zip(openings, ends, strict=True)
        ]
    return None


def _without_beginning(text: str) -> str:
    start = 0
    while True:
        while start < len(text) and text[start].isspace():
            start += 1
        beginning = next((mark for mark in _BEGINNINGS if text.startswith(mark, start)), None)
        if beginning is None:
            return text[start:]
        start += len(beginning)
