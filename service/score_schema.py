"""What is sent to be scored and what comes back: one schema for the API, the client and `assay score`.

Imports no torch, so that clients stay light.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, StringConstraints, Tag, model_validator

from trainer.errors import AssayError, InvalidInput
from trainer.manifest import Contrast
from trainer.recipe import Model

MAX_SCORERS = 16
MAX_ITEMS = 1024
MAX_RESPONSES = 256
MAX_PAIRS = 4096
"""Pairs times scorers in one request: a bound on the work one caller may queue at once."""

MAX_MESSAGES = 1024
"""Of one prompt."""

MAX_CONSTRAINTS = 64
"""Of one prompt, each left out once."""

MAX_CHARACTERS = 1_000_000
"""Of one text. Longer than any window served here, short enough to refuse before tokenising."""

MAX_REQUEST_CHARACTERS = 16_000_000
"""Of one request as they are tokenised: a prompt counts with each of its responses, and each pair with each scorer."""

_SURROGATE = re.compile("[\ud800-\udfff]")

ScorerName = Annotated[str, StringConstraints(max_length=300, pattern=r"^[!-~]+$")]
OnOverlong = Literal["error", "truncate_prompt"]
Urgency = Literal["interactive", "trainer", "offline"]
"""Names of ``evaluation.engine.terms.Priority``."""


class Message(Model):
    """One turn of a conversation."""

    role: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_-]{1,32}$")]
    content: str


def _prompt_form(prompt: object) -> str:
    return "messages" if isinstance(prompt, list) else "text"


PromptText = Annotated[
    Annotated[str, Tag("text")] | Annotated[list[Message], Field(max_length=MAX_MESSAGES), Tag("messages")],
    Discriminator(_prompt_form),
]
ItemId = Annotated[str, StringConstraints(max_length=200)] | int | None


class ScoreItem(Model):
    """A prompt with its response, or with several."""

    id: ItemId = None
    """Returned as it was sent, for the caller's bookkeeping."""
    prompt: PromptText
    response: str | None = None
    responses: Annotated[list[str], Field(min_length=1, max_length=MAX_RESPONSES)] | None = None

    @model_validator(mode="after")
    def _one_of_the_two(self) -> Self:
        if (self.response is None) == (self.responses is None):
            raise ValueError("give either response (a text) or responses (a list of texts)")
        return self

    def texts(self) -> list[str]:
        """The responses, one or several."""
        return [self.response] if self.response is not None else self.responses or []

    def characters(self) -> int:
        """Of all its pairs."""
        prompt = len(self.prompt) if isinstance(self.prompt, str) else sum(len(turn.content) for turn in self.prompt)
        return sum(prompt + len(text) for text in self.texts())


class ScoreRequest(Model):
    """Body of POST /v1/scores."""

    scorers: Annotated[list[ScorerName], Field(min_length=1, max_length=MAX_SCORERS)]
    """`NAME`, `NAME@VERSION` or `NAME@VERSION:OUTPUT`; GET /v1/scorers lists them."""
    items: Annotated[list[ScoreItem], Field(min_length=1, max_length=MAX_ITEMS)]
    on_overlong: OnOverlong = "error"
    """What to do with a pair longer than a scorer's window: refuse it, or drop the prompt's oldest tokens."""
    priority: Urgency = "interactive"
    """Who goes first. Where the queue is full, `trainer` waits for room for up to 150 s and the others are refused at
    once."""

    @model_validator(mode="after")
    def _bounded_and_distinct(self) -> Self:
        if len(set(self.scorers)) < len(self.scorers):
            raise ValueError("scorers: each may be named once")
        pairs = sum(len(item.texts()) for item in self.items) * len(self.scorers)
        if pairs > MAX_PAIRS:
            raise ValueError(f"{pairs} scores asked for, at most {MAX_PAIRS} in one request; send several")
        return self


class Score(Model):
    """What one scorer gives one response."""

    score: float
    """Unbounded; compare it only with scores of the same scorer and version."""
    probability: float | None
    """That the response satisfies its prompt, of a pointwise reward model: sigmoid(score / temperature). Of a
    discriminator's first output, relative to the rejected responses it was calibrated on. Null where a score has no
    probability of its own, as of a Bradley-Terry reward model: POST /v1/comparisons has one for two of its scores."""
    tokens: int
    """Prompt and response in the scorer's own tokens, as scored."""
    truncated_tokens: int
    """How many of the prompt's oldest tokens were dropped to fit the scorer's window."""


class Reason(Model):
    """What went wrong, for programs and for people."""

    code: str
    detail: str

    @classmethod
    def of(cls, error: BaseException) -> Self:
        """The user's words for an expected error; of anything else only that it happened."""
        if isinstance(error, AssayError):
            return cls(code=error.code, detail=error.detail)
        return cls(code="internal", detail="the scorer failed on this pair; the server's log says why")


class NoScore(Model):
    """Why there is no score: a failure is never 0 and never NaN."""

    error: Reason


class AnsweringScorer(Model):
    """Who gave the scores in one column, resolved to an exact version."""

    scorer: str
    """As it was asked for."""
    name: str
    version: int
    output: str
    kind: str
    orientation: str
    template_hash: str
    calibration: dict[str, float] | None
    """`{"temperature": T}` where one was fitted."""
    pointwise: bool
    """Whether each score is the logit of a probability, which its `loss`, bce, made it."""
    contrasts: list[Contrast]
    """What two scores may be of for their difference to mean something, all else being the same: two `prompts`, two
    `responses`, or either."""
    prefer: str | None
    """The artifact to score with in place of this one, where it was made beside one that is for that."""


class UnusableScorer(Model):
    """A scorer that exists and cannot be loaded; the others still answer."""

    scorer: str
    error: Reason


class ScoredItem(Model):
    """The scores of one item: one object per response, keyed by the scorer as it was asked for."""

    id: ItemId
    scores: list[dict[str, Score | NoScore]]


class ScoreAnswer(Model):
    """Answer of POST /v1/scores, in the request's order."""

    scorers: list[AnsweringScorer | UnusableScorer]
    items: list[ScoredItem]


class AttributionItem(Model):
    """A response, and a prompt whose constraints are to be left out one at a time."""

    id: ItemId = None
    """Returned as it was sent, for the caller's bookkeeping."""
    prompt: str
    """Of the product-description world, whose constraints are read from it; or any, followed by `constraints`."""
    response: str
    constraints: Annotated[list[str], Field(min_length=1, max_length=MAX_CONSTRAINTS)] | None = None
    """The whole prompt is then `prompt`, the first constraint, the second and so on, joined by `separator`."""
    separator: str = "\n"


class AttributionRequest(AttributionItem):
    """Body of POST /v1/attributions."""

    scorer: ScorerName


class Attribution(Model):
    """What one constraint does to the score."""

    constraint: str
    prompt: str
    """The prompt without it."""
    score: Score
    """Of the response to that."""
    score_difference: float
    """The whole prompt's score minus this one: negative where the scorer holds the constraint against the response."""
    probability_difference: float | None
    """Likewise, where scores have a probability."""


class NoAttribution(Model):
    """Why a constraint has none: it cannot be left out alone, or the prompt without it cannot be scored."""

    constraint: str
    error: Reason


class AttributionAnswer(Model):
    """Answer of POST /v1/attributions."""

    id: ItemId
    scorer: AnsweringScorer
    meaning: str
    """What the differences are, and how far they can be believed of this scorer."""
    prompt: str
    """The whole prompt as it was scored."""
    score: Score
    attributions: list[Attribution | NoAttribution]
    """In the order of the constraints."""
    ranking: list[int]
    """Positions of the attributions there are, that most held against the response first."""


def plain_prompt(prompt: PromptText) -> str | list[dict[str, str]]:
    """The prompt as models take it. Raises InvalidInput for text that no model could read."""
    if isinstance(prompt, str):
        return check_text(prompt, "prompt")
    if not prompt:
        raise InvalidInput("the prompt has no messages")
    return [{"role": m.role, "content": check_text(m.content, "prompt")} for m in prompt]


def check_characters(items: Sequence[ScoreItem], scorers: int) -> None:
    """Raises InvalidInput for a request that would take too long to tokenise."""
    characters = scorers * sum(item.characters() for item in items)
    if characters > MAX_REQUEST_CHARACTERS:
        raise InvalidInput(
            f"{characters} characters to read, each prompt with each of its responses by each scorer; at most"
            f" {MAX_REQUEST_CHARACTERS} in one request; send several"
        )


def check_text(text: str, what: str) -> str:
    """Return ``text``; raises InvalidInput if it is empty, endless or not Unicode."""
    if not text.strip():
        raise InvalidInput(f"the {what} is empty")
    if len(text) > MAX_CHARACTERS:
        raise InvalidInput(f"the {what} has {len(text)} characters, at most {MAX_CHARACTERS} are read")
    if found := _SURROGATE.search(text):
        raise InvalidInput(f"the {what} has half a surrogate pair at character {found.start()}; send valid Unicode")
    return text
