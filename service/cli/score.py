"""``assay score``: score a file of pairs with the engine that serves, here or on a server."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, TextIO

import typer
from pydantic import ValidationError

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
from trainer.files import read_jsonl, storage_errors

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
    total = sum(1 for _ in read_items(pairs))  # a malformed line is found before the first minute is spent
    if total == 0:
        raise InvalidInput(f"{pairs} holds no pairs")
    failed = 0
    with ExitStack() as stack:
        ask = stack.enter_context(_server(url) if url else _engine(artifact_dir))
        file = stack.enter_context(_complete_or_absent(output) if output else _standard_output())
        advance = stack.enter_context(progress("scoring", total, "item"))
        for request in requests(pairs, scorer, on_overlong):
            answered = ask(request)
            for item in answered.items:
                file.write(item.model_dump_json() + "\n")
                failed += sum(isinstance(cell, NoScore) for row in item.scores for cell in row.values())
            advance(len(answered.items))
    for one in answered.scorers:
        who = f"{one.name}@{one.version}" if isinstance(one, AnsweringScorer) else f"nothing: {one.error.detail}"
        note(f"{one.scorer} is {who}")
    if failed:
        note(f"{failed} scores are missing; the `error` in their place says why")


def read_items(path: Path) -> Iterator[ScoreItem]:
    """The items of a JSONL file. Raises InvalidInput naming the line that is none."""
    for number, row in read_jsonl(path):
        try:
            yield ScoreItem.model_validate(row)
        except ValidationError as error:
            raise InvalidInput(f"{path}, line {number}: {_first(error)}") from error


def requests(path: Path, scorers: list[str], on_overlong: OnOverlong) -> Iterator[ScoreRequest]:
    """The items of a file in requests as large as one may be."""
    items: list[ScoreItem] = []
    scores = 0
    for item in read_items(path):
        more = len(item.texts()) * len(scorers)
        if items and (len(items) == MAX_ITEMS or scores + more > MAX_PAIRS):
            yield _request(items, scorers, on_overlong)
            items, scores = [], 0
        items.append(item)
        scores += more
    if items:
        yield _request(items, scorers, on_overlong)


def _request(items: list[ScoreItem], scorers: list[str], on_overlong: OnOverlong) -> ScoreRequest:
    try:
        return ScoreRequest(scorers=scorers, items=items, on_overlong=on_overlong)
    except ValidationError as error:
        raise InvalidInput(_first(error)) from error


def _first(error: ValidationError) -> str:
    """Pydantic's first complaint in one line, after the field it is about."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


@contextmanager
def _engine(artifact_dir: Path | None) -> Iterator[Ask]:
    from service.scoring import answer, open_engine, queue_request
    from service.settings import load_settings
    from trainer.artifacts import ArtifactStore

    with open_engine(ArtifactStore(load_settings(artifact_dir=artifact_dir).artifact_dir)) as engine:
        yield lambda request: answer(queue_request(engine, request))


@contextmanager
def _server(url: str) -> Iterator[Ask]:
    from service.client import Client

    with Client(url) as client:
        yield client.score


@contextmanager
def _standard_output() -> Iterator[TextIO]:
    yield sys.stdout


@contextmanager
def _complete_or_absent(path: Path) -> Iterator[TextIO]:
    """A file that appears under ``path`` only if the block ends well. Raises StorageFailure."""
    staging = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with storage_errors(path):
        try:
            with staging.open("w", encoding="utf-8") as file:
                yield file
            staging.replace(path)
        finally:
            staging.unlink(missing_ok=True)
