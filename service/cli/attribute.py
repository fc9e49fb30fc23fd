"""``assay attribute``: which of its prompt's constraints a scorer holds against a response, here or on a server."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from service.cli.lines import first_complaint, open_output, read_lines
from service.cli.options import ArtifactDir, AsJson, ServerUrl
from service.cli.printing import note, print_table, progress, say
from service.cli.score import local_engine, who
from service.score_schema import (
    Attribution,
    AttributionAnswer,
    AttributionItem,
    AttributionRequest,
    ItemId,
    Reason,
    ScoreRequest,
)
from trainer.errors import InvalidInput
from trainer.recipe import Model

Ask = Callable[[AttributionRequest], AttributionAnswer]


class Unanswered(Model):
    """A line that cannot be answered, which never keeps the others from being."""

    id: ItemId
    error: Reason


def attribute(
    pairs: Annotated[
        Path,
        typer.Argument(
            metavar="PAIRS.jsonl",
            help="Lines of {prompt, response}, the prompt of the product-description world, or {prompt, constraints,"
            " response} with constraints to append to it, each on a line of its own unless there is a separator.",
        ),
    ],
    scorer: Annotated[str, typer.Option(help="NAME[@VERSION][:OUTPUT].")],
    output: Annotated[
        Path | None, typer.Option(metavar="OUT.jsonl", help="Write JSON lines here, once all is scored.")
    ] = None,
    as_json: AsJson = False,
    artifact_dir: ArtifactDir = None,
    url: ServerUrl = None,
) -> None:
    """Score each response with its prompt and without each constraint, as POST /v1/attributions does."""
    requests = [_request(item, scorer) for item in read_lines(pairs, AttributionItem)]
    if not requests:
        raise InvalidInput(f"{pairs} holds no pairs")
    answers: list[AttributionAnswer | Unanswered] = []
    with ExitStack() as stack:
        ask = stack.enter_context(_server(url) if url else _here(artifact_dir))
        file = stack.enter_context(open_output(output))
        advance = stack.enter_context(progress("scoring", len(requests), "item"))
        for request in requests:
            answers.append(_answer(ask, request))
            if output is not None or as_json:
                file.write(answers[-1].model_dump_json() + "\n")
            advance(1)
    if output is None and not as_json:
        for answer in answers:
            _print(answer)
    answered = [answer for answer in answers if isinstance(answer, AttributionAnswer)]
    if answered:
        note(f"{scorer} is {who(answered[0].scorer)}")
        note(f"differences are {answered[0].meaning}")
    if failed := len(answers) - len(answered):
        note(f"{failed} of {len(answers)} lines have no answer; the `error` in its place says why")


def _request(item: AttributionItem, scorer: str) -> AttributionRequest:
    try:
        return AttributionRequest(scorer=scorer, **item.model_dump())
    except ValidationError as error:
        raise InvalidInput(first_complaint(error)) from error


def _answer(ask: Ask, request: AttributionRequest) -> AttributionAnswer | Unanswered:
    """Raises what is wrong with the scorer rather than with this line."""
    try:
        return ask(request)
    except InvalidInput as error:
        if not (error.pointer or "").startswith(("/prompt", "/response", "/constraints")):
            raise
        return Unanswered(id=request.id, error=Reason.of(error))


def _print(answer: AttributionAnswer | Unanswered) -> None:
    if isinstance(answer, Unanswered):
        say(f"\n{_heading(answer.id)}no answer: {answer.error.detail}")
        return
    say(f"\n{_heading(answer.id)}score {answer.score.score:.3f}{_probability(answer.score.probability)}")
    print_table(
        ("constraint", "difference", "in probability", "score without"),
        [
            (
                each.constraint,
                f"{each.score_difference:+.3f}",
                "" if each.probability_difference is None else f"{each.probability_difference:+.3f}",
                f"{each.score.score:.3f}",
            )
            if isinstance(each, Attribution)
            else (each.constraint, "", "", f"none: {each.error.detail}")
            for each in answer.attributions
        ],
        numbers=("difference", "in probability"),
    )


def _heading(item: ItemId) -> str:
    return "" if item is None else f"{item}: "


def _probability(value: float | None) -> str:
    return "" if value is None else f", probability {value:.3f}"


@contextmanager
def _here(artifact_dir: Path | None) -> Iterator[Ask]:
    from service.attributions import question_of

    with local_engine(artifact_dir) as score:

        def ask(request: AttributionRequest) -> AttributionAnswer:
            question = question_of(request)
            return question.answer(score(ScoreRequest(scorers=[request.scorer], items=question.items)))

        yield ask


@contextmanager
def _server(url: str) -> Iterator[Ask]:
    from service.client import AssayClient

    with AssayClient(url) as client:
        yield client.attribute
