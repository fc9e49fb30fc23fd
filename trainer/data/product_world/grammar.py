"""Sentences of the world: rendering one from its meaning and reading its meaning back."""

from dataclasses import dataclass

from trainer.data.product_world.vocabulary import (
    FACT_TEMPLATES,
    MORE_NOUNS,
    NOUNS,
    PROPERTY_OF,
    TONE_OF,
    TONE_TEMPLATES,
)


@dataclass(frozen=True)
class Sentence:
    """One statement: a fact (``property`` and ``value``) or a tone word, in one of the templates."""

    template: str
    noun: str | None = None
    property: str | None = None
    value: str | None = None
    tone_word: str | None = None

    def words(self) -> list[str]:
        """The sentence without its full stop."""
        return self.template.format(p=self.property, v=self.value, t=self.tone_word, noun=self.noun).split()


def render(sentences: list[Sentence]) -> str:
    """A response: each sentence ended by a full stop that is a word of its own."""
    return " ".join(" ".join([*sentence.words(), "."]) for sentence in sentences)


def split_sentences(response: str) -> tuple[list[list[str]], list[str]]:
    """Words of each ended sentence, and the words after the last full stop."""
    sentences: list[list[str]] = []
    current: list[str] = []
    for word in response.split():
        if word == ".":
            sentences.append(current)
            current = []
        else:
            current.append(word)
    return sentences, current


def read(words: list[str]) -> Sentence | None:
    """The meaning of a sentence, or None if it matches no template (templates differ in length or fixed words)."""
    for template in (*FACT_TEMPLATES, *TONE_TEMPLATES):
        slots = template.split()
        if len(slots) != len(words):
            continue
        found: dict[str, str] = {}
        for slot, word in zip(slots, words, strict=True):
            if slot.startswith("{"):
                found[slot] = word
            elif slot != word:
                break
        else:
            if _meaningful(found):
                return Sentence(template, found.get("{noun}"), found.get("{p}"), found.get("{v}"), found.get("{t}"))
    return None


def _meaningful(found: dict[str, str]) -> bool:
    if "{noun}" in found and found["{noun}"] not in (*NOUNS, *MORE_NOUNS):
        return False
    if "{t}" in found:
        return found["{t}"] in TONE_OF
    return PROPERTY_OF.get(found["{v}"]) == found["{p}"]
