"""Names of special tokens that texts contain: in content they are text, for whoever writes it must not end a turn."""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import cast

from transformers import PreTrainedTokenizerBase

from trainer.errors import InvalidInput

Marks = Mapping[str, str]
"""By a character that stands for it, the name of a special token."""


class SpecialTokens:
    """A tokenizer's special tokens, by id and by name."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer

    @cached_property
    def ids(self) -> frozenset[int]:
        """All but that of unknown words, unless it controls something as well, as GPT-2's does."""
        tokenizer = self._tokenizer
        added = tokenizer.added_tokens_decoder
        special = {*tokenizer.all_special_ids, *(index for index, token in added.items() if token.special)}
        controls = {getattr(tokenizer, f"{role}_token_id") for role in ("bos", "eos", "pad", "sep", "cls", "mask")}
        return frozenset(special - ({tokenizer.unk_token_id} - controls))

    @cached_property
    def _named(self) -> re.Pattern[str]:
        names = cast(list[str], self._tokenizer.convert_ids_to_tokens(sorted(self.ids)))
        return re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))) or r"(?!)")

    def marked(self, messages: Sequence[dict[str, str]]) -> tuple[list[dict[str, str]], Marks]:
        """The messages with a character in place of each name of a special token, and what the characters stand for.

        A template passes such a character on as it is, so the name is found again in what it renders.
        """
        texts = [text for message in messages for text in message.values()]
        names = sorted({name for text in texts for name in self._named.findall(text)})
        if not names:
            return list(messages), {}
        taken = {*chain.from_iterable(texts)}
        free = (mark for mark in map(chr, range(0xF0000, 0xFFFFE)) if mark not in taken)  # of private use
        marks = dict(zip(names, free, strict=False))
        marked = [
            {key: self._named.sub(lambda found: marks[found[0]], text) for key, text in message.items()}
            for message in messages
        ]
        return marked, {mark: name for name, mark in marks.items()}

    def spelt_out(self, name: str) -> list[int]:
        """The ids of a special token's name as of any other text. Raises InvalidInput where they are that token."""
        ids = self._tokenizer(name, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return self.check(cast(list[int], ids))

    def check(self, ids: list[int]) -> list[int]:
        """Return ``ids``, of content; raises InvalidInput where a special token is among them."""
        for index in ids:
            if index in self.ids:
                name = self._tokenizer.convert_ids_to_tokens(index)
                raise InvalidInput(f"the text contains {name}, which this model reads as a control token; take it out")
        return ids
