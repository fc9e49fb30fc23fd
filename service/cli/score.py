"""``assay score``: score a file of pairs with the engine that serves, here or on a server."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from service.cli.lines import first_complaint, open_output, read_lines
from service.cli.options import ArtifactDir, ServerUrl
from service.cli.printing import note, progress
from service.score_schema import (
    MAX_ITEMS,
    MAX_PAIRS,
    AnsweringScorer,
    NoScore,
    OnOverlong,
    ScoreAnswer,
    ScoreItem,
    ScoreRequest,
)
from trainer.errors import InvalidInput

Ask = Callable[[ScoreRequest], ScoreAnswer]


def score(
    pairs: Annotated[
        Path,
        typer.Argument(
            metavar="PAIRS.jsonl", help="Lines of {prompt, response} or {prompt, responses}, with or without id."
        ),
    ],
    scorer: Annotated[list[str], typer.Option(help="NAME[@VERSION][:OUTPUT]; may be given several times.")],
    output: Annotated[
        Path | None, typer.Option(metavar="OUT.jsonl", help="Appears once all is scored. [default: standard output]")
    ] = None,
    on_overlong: Annotated[
        OnOverlong, typer.Option(help="What to do with a pair that exceeds a scorer's window.")
    ] = "error",
    artifact_dir: ArtifactDir = None,
    url: ServerUrl = None,
) -> None:
    """Score pairs: a line per item, as POST /v1/scores answers it."""
    total = sum(1 for _ in read_lines(pairs, ScoreItem))  # a malformed line is found before the first minute is spent
    if total == 0:
        raise InvalidInput(f"{pairs} holds no pairs")
    failed = 0
    with ExitStack() as stack:
        ask = stack.enter_context(_server(url) if url else local_engine(artifact_dir))
        file = stack.enter_context(open_output(output))
        advance = stack.enter_context(progress("scoring", total, "item"))
        for request in requests(pairs, scorer, on_overlong):
            answered = ask(request)
            for item in answered.items:
                file.write(item.model_dump_json() + "\n")
                failed += sum(isinstance(cell, NoScore) for row in item.scores for cell in row.values())
            advance(len(answered.items))
    for one in answered.scorers:
        note(f"{one.scorer} is {who(one) if isinstance(one, AnsweringScorer) else f'nothing: {one.error.detail}'}")
    if failed:
        note(f"{failed} scores are missing; the `error` in their place says why")


def requests(path: Path, scorers: list[str], on_overlong: OnOverlong) -> Iterator[ScoreRequest]:
    """The items of a file in requests as large as one may be."""
    items: list[ScoreItem] = []
    scores = 0
    for item in read_lines(path, ScoreItem):
        more = len(item.texts()) * len(scorers)
        if items and (len(items) == MAX_ITEMS or scores + more > MAX_PAIRS):
            yield _request(items, scorers, on_overlong)
            items, scores = [], 0
        items.append(item)
        scores += more
    if items:
        yield _request(items, scorers, on_overlong)


def who(scorer: AnsweringScorer) -> str:
    """The very scorer that answered, and which to ask for in its place."""
    output = "" if scorer.kind == "reward_model" else f":{scorer.output}"
    instead = f"; to score responses in general, {scorer.prefer} is there" if scorer.prefer else ""
    return f"{scorer.name}@{scorer.version}{output}{instead}"


def _request(items: list[ScoreItem], scorers: list[str], on_overlong: OnOverlong) -> ScoreRequest:
    try:
        return ScoreRequest(scorers=scorers, items=items, on_overlong=on_overlong)
    except ValidationError as error:
        raise InvalidInput(first_complaint(error)) from error


@contextmanager
def local_engine(artifact_dir: Path | None) -> Iterator[Ask]:
    """Score with the artifacts of a directory."""
    from service.answering import answer, queue_request
    from service.scoring import open_engine
    from service.settings import load_settings

    with open_engine(load_settings(artifact_dir=artifact_dir).open_artifacts()) as engine:
        yield lambda request: answer(queue_request(engine, request))


@contextmanager
def _server(url: str) -> Iterator[Ask]:
    from service.client import AssayClient

    with AssayClient(url) as client:
        # nobody waits for a file as somebody does at a page
        yield lambda request: client.score(request.model_copy(update={"priority": "offline"}))
