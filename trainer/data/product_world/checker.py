"""The exact oracle: which constraints of a task a response meets."""

from trainer.data.product_world.grammar import Sentence, read, split_sentences
from trainer.data.product_world.task import Task
from trainer.data.product_world.vocabulary import PROPERTY_OF, TONE_OF


def check(task: Task, response: str) -> dict[str, bool]:
    """Whether each constraint holds. ``wellformed, complete, faithful, tone`` always apply, the others if asked.

    - wellformed: every sentence is one of the grammar's and ends with a full stop
    - complete: every fact of the task is stated; faithful: nothing else is, nothing twice, of no other product
    - len, start, before, avoid: as the task says; tone: exactly the tone asked for, or none
    """
    words = [word for word in response.split() if word != "."]
    ended, rest = split_sentences(response)
    sentences = [read(sentence) for sentence in ended]
    stated = [(s.property, s.value) for s in sentences if s is not None and s.value is not None]
    values = [(PROPERTY_OF[word], word) for word in words if word in PROPERTY_OF]
    result = {
        "wellformed": bool(sentences) and not rest and all(sentence is not None for sentence in sentences),
        "complete": set(task.facts) <= set(stated),
        "faithful": set(values) <= set(task.facts) and len(values) == len(set(values)) and _same_noun(task, sentences),
        "tone": {TONE_OF[word] for word in words if word in TONE_OF} == ({task.tone} if task.tone else set()),
    }
    if task.length:
        result["len"] = task.length[0] <= len(words) <= task.length[1]
    if task.start:
        result["start"] = bool(sentences) and sentences[0] is not None and sentences[0].property == task.start
    if task.before:
        result["before"] = _first(stated, task.before[0]) < _first(stated, task.before[1])
    if task.avoid:
        result["avoid"] = not set(task.avoid) & set(words)
    return result


def satisfied(task: Task, response: str) -> bool:
    """Whether every constraint holds."""
    return all(check(task, response).values())


def fluency(response: str) -> float:
    """Share of sentences, an unfinished one included, that are the grammar's and not said before; 0 for none."""
    ended, rest = split_sentences(response)
    total = len(ended) + bool(rest)
    good = {tuple(sentence) for sentence in ended if read(sentence) is not None}
    return len(good) / total if total else 0.0


def gold(task: Task, response: str) -> float:
    """Graded judgement in [0, 1]: 0.6 x share of constraints met + 0.4 x fluency."""
    results = check(task, response).values()
    return 0.6 * sum(results) / len(results) + 0.4 * fluency(response)


def _same_noun(task: Task, sentences: list[Sentence | None]) -> bool:
    return all(s is None or s.noun in (None, task.noun) for s in sentences)


def _first(stated: list[tuple[str | None, str]], name: str) -> float:
    """Position of the first fact about ``name``; infinity if it is never mentioned."""
    return next((float(i) for i, (stated_name, _) in enumerate(stated) if stated_name == name), float("inf"))
