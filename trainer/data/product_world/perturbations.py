"""One edit that turns a compliant pair into one that is not: of the prompt (GAPO's preferential prompts, where the
response stays) or of the response (ordinary preference pairs, where the prompt stays)."""

import random
from collections.abc import Callable
from dataclasses import replace

from trainer.data.product_world.checker import satisfied
from trainer.data.product_world.grammar import Sentence, render
from trainer.data.product_world.sampling import Example
from trainer.data.product_world.task import Task
from trainer.data.product_world.vocabulary import AVOIDABLE, FACT_TEMPLATES, TONE_TEMPLATES, TONES

PromptEdit = Callable[[random.Random, Example], Task | None]
ResponseEdit = Callable[[random.Random, Example], list[Sentence] | None]


def perturb_prompt(rng: random.Random, example: Example) -> tuple[str, Task]:
    """(kind of edit, task) such that the example's response violates the task.

    Kinds are drawn until one applies and really breaks compliance.
    """
    kinds = list(PROMPT_EDITS)
    while True:
        kind = rng.choice(kinds)
        task = PROMPT_EDITS[kind](rng, example)
        if task is not None and not satisfied(task, example.response):
            return kind, task


def perturb_response(rng: random.Random, example: Example) -> tuple[str, str]:
    """(kind of edit, response) such that the response violates the example's task."""
    kinds = list(RESPONSE_EDITS)
    while True:
        kind = rng.choice(kinds)
        sentences = RESPONSE_EDITS[kind](rng, example)
        if sentences is not None and not satisfied(example.task, render(sentences)):
            return kind, render(sentences)


def _other_value(rng: random.Random, example: Example, name: str, value: str) -> str:
    return rng.choice([other for other in example.world.properties[name] if other != value])


def _unused_fact(rng: random.Random, example: Example) -> tuple[str, str]:
    properties = example.world.properties
    name = rng.choice([name for name in properties if name not in dict(example.task.facts)])
    return name, rng.choice(properties[name])


def _mod_value(rng: random.Random, example: Example) -> Task:
    facts = list(example.task.facts)
    index = rng.randrange(len(facts))
    name, value = facts[index]
    facts[index] = (name, _other_value(rng, example, name, value))
    return replace(example.task, facts=tuple(facts))


def _mod_len(rng: random.Random, example: Example) -> Task | None:
    """Move the window past the response's length by 1, 1, 2, 3 or 5 words: graded near misses."""
    if example.task.length is None:
        return None
    words = sum(len(sentence.words()) for sentence in example.sentences)
    width = example.task.length[1] - example.task.length[0]
    miss = rng.choice((1, 1, 2, 3, 5))
    low = words + miss if rng.random() < 0.5 else max(words - miss - width, 1)
    return replace(example.task, length=(low, low + width))


def _mod_tone(rng: random.Random, example: Example) -> Task | None:
    if example.task.tone is None:
        return None
    return replace(example.task, tone=rng.choice([tone for tone in TONES if tone != example.task.tone]))


def _mod_start(rng: random.Random, example: Example) -> Task | None:
    if example.task.start is None:
        return None
    others = [name for name, _ in example.task.facts if name != example.task.start]
    return replace(example.task, start=rng.choice(others))


def _swap_before(rng: random.Random, example: Example) -> Task | None:
    if example.task.before is None:
        return None
    first, second = example.task.before
    return replace(example.task, before=(second, first))


def _add_fact(rng: random.Random, example: Example) -> Task:
    facts = list(example.task.facts)
    facts.insert(rng.randrange(len(facts) + 1), _unused_fact(rng, example))
    return replace(example.task, facts=tuple(facts))


def _add_avoid(rng: random.Random, example: Example) -> Task | None:
    used = set(example.response.split()) & set(AVOIDABLE) - set(example.task.avoid)
    if not used:
        return None
    return replace(example.task, avoid=(rng.choice(sorted(used)),))


def _add_tone(rng: random.Random, example: Example) -> Task | None:
    return None if example.task.tone else replace(example.task, tone=rng.choice(list(TONES)))


def _drop_fact(rng: random.Random, example: Example) -> Task:
    facts = list(example.task.facts)
    facts.pop(rng.randrange(len(facts)))
    return replace(example.task, facts=tuple(facts))


def _drop_tone(rng: random.Random, example: Example) -> Task | None:
    return replace(example.task, tone=None) if example.task.tone else None


PROMPT_EDITS: dict[str, PromptEdit] = {
    "mod_value": _mod_value,
    "mod_len": _mod_len,
    "mod_tone": _mod_tone,
    "mod_start": _mod_start,
    "swap_before": _swap_before,
    "add_fact": _add_fact,
    "add_avoid": _add_avoid,
    "add_tone": _add_tone,
    "drop_fact": _drop_fact,
    "drop_tone": _drop_tone,
}


def _pick_fact(rng: random.Random, example: Example) -> int:
    return rng.choice([i for i, sentence in enumerate(example.sentences) if sentence.value is not None])


def _wrong_value(rng: random.Random, example: Example) -> list[Sentence]:
    sentences = list(example.sentences)
    index = _pick_fact(rng, example)
    chosen = sentences[index]
    assert chosen.property is not None
    assert chosen.value is not None
    sentences[index] = replace(chosen, value=_other_value(rng, example, chosen.property, chosen.value))
    return sentences


def _dropped_sentence(rng: random.Random, example: Example) -> list[Sentence]:
    sentences = list(example.sentences)
    sentences.pop(rng.randrange(len(sentences)))
    return sentences


def _added_sentence(rng: random.Random, example: Example) -> list[Sentence]:
    sentences = list(example.sentences)
    name, value = _unused_fact(rng, example)
    sentence = Sentence(rng.choice(FACT_TEMPLATES), example.task.noun, name, value)
    sentences.insert(rng.randrange(1, len(sentences) + 1), sentence)
    return sentences


def _swapped_sentences(rng: random.Random, example: Example) -> list[Sentence]:
    sentences = list(example.sentences)
    first, second = rng.sample(range(len(sentences)), 2)
    sentences[first], sentences[second] = sentences[second], sentences[first]
    return sentences


def _wrong_tone(rng: random.Random, example: Example) -> list[Sentence] | None:
    if example.task.tone is None:
        return None
    word = rng.choice(TONES[rng.choice([tone for tone in TONES if tone != example.task.tone])])
    return [replace(s, tone_word=word) if s.tone_word else s for s in example.sentences]


def _retemplated(rng: random.Random, example: Example) -> list[Sentence]:
    sentences = list(example.sentences)
    index = rng.randrange(len(sentences))
    templates = FACT_TEMPLATES if sentences[index].value else TONE_TEMPLATES
    sentences[index] = replace(sentences[index], template=rng.choice(templates))
    return sentences


RESPONSE_EDITS: dict[str, ResponseEdit] = {
    "wrong_value": _wrong_value,
    "dropped_sentence": _dropped_sentence,
    "added_sentence": _added_sentence,
    "swapped_sentences": _swapped_sentences,
    "wrong_tone": _wrong_tone,
    "retemplated": _retemplated,
}
