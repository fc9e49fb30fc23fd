"""Which constraint a scorer holds against a response: every constraint left out once, the same for API and command."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.imports import heavy_imports
from service.score_schema import (
    MAX_CHARACTERS,
    MAX_CONSTRAINTS,
    MAX_REQUEST_CHARACTERS,
    AnsweringScorer,
    Attribution,
    AttributionAnswer,
    AttributionItem,
    NoAttribution,
    NoScore,
    Reason,
    Score,
    ScoreAnswer,
    ScoreItem,
    check_text,
)
from trainer.errors import InvalidInput, OverlongInput, error_of

if TYPE_CHECKING:
    from evaluation.ablations import Ablation

_CANNOT = "undefined"


@dataclass(frozen=True)
class Question:
    """What is to be scored to answer an item: the response with the whole prompt, then with each shorter one."""

    item: AttributionItem
    prompt: str
    ablations: "list[Ablation]"

    @property
    def items(self) -> list[ScoreItem]:
        prompts = [self.prompt, *(each.prompt for each in self.ablations if each.prompt is not None)]
        return [ScoreItem(prompt=prompt, response=self.item.response) for prompt in prompts]

    def answer(self, scored: ScoreAnswer) -> AttributionAnswer:
        """Differences to the whole prompt's score, of what one scorer gave ``items``.

        Raises what kept the whole prompt from being scored.
        """
        scorer = scored.scorers[0]
        assert isinstance(scorer, AnsweringScorer), "a request with one scorer fails if that scorer does"
        whole, *others = [item.scores[0][scorer.scorer] for item in scored.items]
        if isinstance(whole, NoScore):
            detail = whole.error.detail
            if whole.error.code == OverlongInput.code:  # which advises to cut the prompt
                detail = f"{detail.partition(';')[0]}; constraints are never cut off, so shorten prompt or response"
            raise error_of(whole.error.code, detail, pointer="/prompt")
        remaining = iter(others)
        found = [
            NoAttribution(constraint=each.constraint, error=Reason(code=_CANNOT, detail=each.reason or ""))
            if each.prompt is None
            else _attribution(each.constraint, each.prompt, whole, next(remaining))
            for each in self.ablations
        ]
        differences = {
            position: each.score_difference for position, each in enumerate(found) if isinstance(each, Attribution)
        }
        return AttributionAnswer(
            id=self.item.id,
            scorer=scorer,
            meaning=_meaning(scorer),
            prompt=self.prompt,
            score=whole,
            attributions=found,
            ranking=sorted(differences, key=differences.__getitem__),
        )


def question_of(item: AttributionItem) -> Question:
    """Find the constraints of an item's prompt. May bring transformers: not for the event loop.

    Raises InvalidInput, pointing into the item, for texts that no model could read and prompts without constraints.
    """
    with heavy_imports():
        from evaluation.ablations import ablate_listed, ablate_product_world

    texts = {"/prompt": ("prompt", item.prompt), "/response": ("response", item.response)}
    texts |= {f"/constraints/{index}": ("constraint", text) for index, text in enumerate(item.constraints or ())}
    for pointer, (what, text) in texts.items():
        try:
            check_text(text, what)
        except InvalidInput as error:
            error.pointer = pointer
            raise
    if item.constraints is not None:
        characters = len(item.prompt) + sum(len(each) + len(item.separator) for each in item.constraints)
        read = characters * (len(item.constraints) + 1)
        if characters > MAX_CHARACTERS or read > MAX_REQUEST_CHARACTERS:  # before it is built for every constraint
            raise InvalidInput(
                f"the whole prompt has {characters} characters and is read {len(item.constraints) + 1} times; at most"
                f" {MAX_CHARACTERS} characters, and {MAX_REQUEST_CHARACTERS} in all, are read",
                pointer="/constraints",
            )
        return Question(item, *ablate_listed(item.prompt, item.constraints, item.separator))
    try:
        ablations = ablate_product_world(item.prompt)
    except InvalidInput as error:
        raise InvalidInput(f"{error.detail}; of other prompts give the constraints", pointer="/prompt") from error
    if len(ablations) > MAX_CONSTRAINTS:
        raise InvalidInput(
            f"the prompt has {len(ablations)} constraints, at most {MAX_CONSTRAINTS} are left out", pointer="/prompt"
        )
    return Question(item, item.prompt, ablations)


def _attribution(constraint: str, prompt: str, whole: Score, without: Score | NoScore) -> Attribution | NoAttribution:
    if isinstance(without, NoScore):
        return NoAttribution(constraint=constraint, error=without.error)
    before, after = whole.probability, without.probability
    return Attribution(
        constraint=constraint,
        prompt=prompt,
        score=without,
        score_difference=whole.score - without.score,
        probability_difference=None if before is None or after is None else before - after,
    )


def _meaning(scorer: AnsweringScorer) -> str:
    found = "the score with the whole prompt minus that without the constraint: negative if held against the response"
    if "prompts" in scorer.contrasts:
        return found
    return (
        f"{found}; this scorer was trained to tell responses to one prompt apart, never prompts, so nothing in its"
        " training gave such a difference a meaning"
    )
