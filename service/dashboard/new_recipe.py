"""New stress test, new training job: a form made from the recipe's schema, checked as the API checks, then queued."""

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import TypeAdapter, ValidationError

from service.access import caller_of, may, needs
from service.dashboard.form_reading import ENTRY, fields_of, in_order_of, places_of, read_form
from service.dashboard.plain_yaml import read_yaml, tree_or_text, write_yaml
from service.dashboard.posted import posted
from service.dashboard.rendering import back_to, failed, render
from service.dashboard.schema_form import form_of, pointers
from service.db.queries import find_job
from service.errors import outcome_of
from service.imports import heavy_imports
from service.jobs.kinds import STRESS_KINDS, TRAINING_KINDS
from service.submission import accept, planned, queue
from service.wording import size
from trainer.errors import AssayError, InvalidInput, NotFound
from trainer.json_pointer import pointer_by_kind
from trainer.recipe import Recipe, read_recipe

if TYPE_CHECKING:
    from trainer.dry_run.check import DryRun

router = APIRouter(prefix="/new", include_in_schema=False, dependencies=[needs("read", changes="train")])

READY = Path(__file__).parents[2] / "recipes"
"""Recipes that come with the source; an installation without it offers none."""

What = Literal["stress-test", "training-job"]
_KINDS: dict[What, tuple[str, ...]] = {"stress-test": STRESS_KINDS, "training-job": TRAINING_KINDS}


@dataclass(frozen=True)
class Complaint:
    """Something wrong with the recipe; ``pointer`` is empty where it is about no field of the form."""

    pointer: str
    detail: str
    in_yaml: bool = False
    """Whether it is to be put right in the YAML beside the form, which cannot show it."""


@dataclass(frozen=True)
class Draft:
    """A recipe in the making."""

    what: What
    content: dict[str, Any]
    text: str | None = None
    """The YAML beside the form where it does not say what the form says: it could not be read, or was edited since."""
    complaints: tuple[Complaint, ...] = ()
    checked: bool = False
    """Whether a check found nothing wrong."""
    plan: "DryRun | None" = None
    """What it found besides; recipes that evaluate tell nothing before they run."""
    status: int = 200


@router.get("/{what}")
def new(
    request: Request,
    what: What,
    kind: Annotated[str, Query()] = "",
    recipe: Annotated[str, Query()] = "",
    job: Annotated[str, Query()] = "",
) -> Response:
    """The form, empty or begun with a ready recipe or with that of a job."""
    try:
        return _page(request, _begun(request, what, kind, recipe, job), uuid.uuid4().hex)
    except AssayError as error:
        return failed(request, error)


@router.post("/{what}")
async def change(request: Request, what: What) -> Response:
    """What a button of the form asks for: draw it again, read pasted YAML, check, or queue the job."""
    try:
        fields = await posted(request)
    except InvalidInput as error:
        return failed(request, error)
    # of a switch both states are sent, the one that holds last
    return await run_in_threadpool(_changed, request, what, {name: values[-1] for name, values in fields.items()})


def _changed(request: Request, what: What, fields: dict[str, str]) -> Response:
    action, token = fields.get("action", "check"), fields.get("token", "")
    verb, _, pointer = action.partition(":")
    if verb == "remove":
        fields.pop(f"{ENTRY}{pointer}", None)
    elif verb == "add":
        fields[f"{ENTRY}{pointer}/{max(places_of(pointer, fields), default=-1) + 1}"] = ""
    try:
        draft = _pasted(what, fields) if verb == "read" else _filled_in(what, fields)
    except AssayError as error:
        return failed(request, error)
    if verb in {"check", "submit"} and draft.text is not None:
        edited = Complaint("", "the YAML was edited: read it into the form first, or empty it", in_yaml=True)
        draft = replace(draft, complaints=(edited,), status=422 if verb == "submit" else 200)
    elif verb in {"check", "submit", "read"} and not draft.complaints:
        try:
            accepted = _accepted(request, draft)
            if verb == "submit":
                once = f"{token}-{accepted.digest()[:16]}" if token else None
                job_id = queue(request.app.state, caller_of(request), accepted, once)
                return back_to(request, f"/jobs/{job_id}")
            if verb == "check":
                plan = planned(request.app.state, accepted) if what == "training-job" else None
                draft = replace(draft, checked=True, plan=plan)
        except AssayError as error:
            # what is wrong is the answer that a check asks for
            status = outcome_of(error).status if verb == "submit" else 200
            draft = replace(draft, complaints=_complaints(error, draft.content), status=status)
            if verb == "read":
                draft = _kept_beside(request, draft, fields["yaml"])
    return _page(request, draft, token)


def _begun(request: Request, what: What, kind: str, recipe: str, job: str) -> Draft:
    if job:
        with request.app.state.sessions() as session:
            stored = dict(find_job(session, job, _KINDS[what]).recipe)
        return Draft(what, _without_defaults(stored))
    if recipe:
        path = dict(_ready(what)).get(recipe)
        if path is None:
            raise NotFound(f"no ready recipe {recipe!r}")
        return Draft(what, read_recipe(path))
    kind = kind or _KINDS[what][0]
    _check_kind(what, kind)
    return Draft(what, {"kind": kind})


def _filled_in(what: What, fields: dict[str, str]) -> Draft:
    kind = fields.get("kind", _KINDS[what][0])
    _check_kind(what, kind)
    text = fields.get("yaml", "")
    edited = bool(text.strip()) and fields.get("drawn", (now := _digest(text))) != now
    content = {"kind": kind, **read_form(schema_of(kind), fields)}
    if edited:
        return Draft(what, content, text)
    return Draft(what, in_order_of(tree_or_text(text), content))  # what the form said before, in its writer's order


def _without_defaults(stored: dict[str, Any]) -> dict[str, Any]:
    """As somebody would write it: a stored recipe has every default spelled out."""
    kind = str(stored["kind"])
    return {"kind": kind, **read_form(schema_of(kind), fields_of(form_of(schema_of(kind), stored)))}


def _pasted(what: What, fields: dict[str, str]) -> Draft:
    kinds, text = _KINDS[what], fields.get("yaml", "")
    try:
        content = read_yaml(text)
    except InvalidInput as error:
        wrong = Complaint("", error.detail, in_yaml=True)
    else:
        if isinstance(content, dict) and content.get("kind") in kinds:
            return Draft(what, {str(name): value for name, value in content.items()})
        wrong = Complaint("/kind", f"a recipe here is a mapping with kind: {' | '.join(kinds)}", in_yaml=True)
    return replace(_filled_in(what, fields), text=text, complaints=(wrong,))


def _kept_beside(request: Request, draft: Draft, text: str) -> Draft:
    """What was read from ``text``, with that as it was typed where the form cannot show all that is wrong with it: the
    form alone would be taken without a word about it."""
    held = replace(draft, content=_without_defaults(draft.content))
    found: tuple[Complaint, ...] = ()
    try:
        _accepted(request, held)
    except AssayError as error:
        found = _complaints(error, held.content)
    lost = {each for each in draft.complaints if each not in found and each.detail != _NEEDED}
    if not lost:
        return draft
    told = "{}; the form cannot show it: put it right in the YAML"
    complaints = tuple(
        replace(each, detail=told.format(each.detail), in_yaml=True) if each in lost else each
        for each in draft.complaints
    )
    return replace(held, text=text, complaints=complaints)


def _accepted(request: Request, draft: Draft) -> Recipe:
    return accept(request.app.state, draft.content, _KINDS[draft.what])


def _facts(plan: "DryRun") -> list[tuple[str, str]]:
    """What somebody wants to know before they start a job."""
    found = []
    if plan.data is not None and plan.data.rows is not None:
        held_out = f", {plan.data.held_out_rows:,} held out" if plan.data.held_out_rows else ""
        found.append(("Rows", f"{plan.data.rows:,}{held_out}"))
    if plan.steps is not None:
        found.append(("Steps", f"{plan.steps:,}"))
    if plan.network is not None:
        trained = plan.network.trained
        found.append(("Parameters", f"{plan.network.parameters:,}"))
        if trained != plan.network.parameters:
            found.append(("Of these trained", f"{trained:,}"))
    if plan.memory:
        found.append(("Memory a process", size(min(each.total for each in plan.memory))))
    return found


def _complaints(error: AssayError, content: dict[str, Any]) -> tuple[Complaint, ...]:
    """Everything that is wrong, in the words of a form; the error has those of the API."""
    if isinstance(error.__cause__, ValidationError):
        found = [
            (each["type"], Complaint(pointer_by_kind(each, content), _words(each)))
            for each in error.__cause__.errors(include_url=False, include_input=False)
        ]
        # of a list whose entries are wrong pydantic also says that it is short of them
        wrong = {each.pointer.rpartition("/")[0] for _, each in found}
        return tuple(each for kind, each in found if kind != "too_short" or each.pointer not in wrong)
    return (Complaint(error.pointer or "", error.detail.rpartition(f"at {error.pointer}: ")[2]),)


_NEEDED = "has to be filled in"

_PLAIN = {
    "missing": _NEEDED,
    "union_tag_not_found": _NEEDED,
    "extra_forbidden": "no such field; remove it or check its spelling",
    "int_parsing": "has to be a whole number",
    "int_from_float": "has to be a whole number",
    "float_parsing": "has to be a number",
    "bool_parsing": "has to be true or false",
    "string_type": "has to be a text",
    "list_type": "has to be a list",
    "tuple_type": "has to be a list",
    "dict_type": "has to be a mapping (key: value)",
    "model_type": "has to be a mapping (key: value)",
    "model_attributes_type": "has to be a mapping (key: value)",
}
"""Pydantic's complaints as somebody who fills in a form reads them; others need their bounds and stay."""


def _words(item: Any) -> str:  # noqa: ANN401 - pydantic's dictionary
    if item["type"] == "too_short":
        return f"has to have {item['ctx']['min_length']} or more"
    if plain := _PLAIN.get(item["type"]):
        return plain
    said: str = item["msg"].removeprefix("Value error, ").replace("Input should be", "has to be")
    return said[:1].lower() + said[1:]


def _page(request: Request, draft: Draft, token: str) -> Response:
    kind = str(draft.content.get("kind"))
    form = form_of(schema_of(kind), draft.content)
    at: dict[str, list[str]] = {}
    known = set(pointers(form))
    places = [_nearest(complaint.pointer, known) for complaint in draft.complaints]
    for place, complaint in zip(places, draft.complaints, strict=True):
        if not complaint.in_yaml:
            at.setdefault(place, []).append(complaint.detail)
    state, text = request.app.state, write_yaml(draft.content, width=72)
    return render(
        request,
        "new_recipe.html",
        draft.status,
        here="jobs",
        what=draft.what,
        title={"stress-test": "New stress test", "training-job": "New training job"}[draft.what],
        kinds=_KINDS[draft.what],
        kind=kind,
        form=form,
        complaints=list(zip(places, draft.complaints, strict=True)),
        at=at,
        checked=draft.checked,
        facts=_facts(draft.plan) if draft.plan else [],
        plan=draft.plan.model_dump(mode="json", exclude_none=True) if draft.plan else {},
        text=text if draft.text is None else draft.text,
        drawn=_digest(text),
        token=token,
        ready=[name for name, _ in _ready(draft.what)],
        artifacts=[each.reference for each in state.scoring.artifacts.all()],
        may_train=may(request, "train"),
    )


def _nearest(pointer: str, known: set[str]) -> str:
    """Where on the form an error is shown: at its field, or at the group or list around it."""
    while pointer and pointer not in known:
        pointer = pointer.rpartition("/")[0]
    return pointer


def _digest(text: str) -> str:
    """Of YAML as a browser sends it back, which writes line ends its own way."""
    return hashlib.sha256(text.replace("\r\n", "\n").strip().encode()).hexdigest()


def _check_kind(what: What, kind: str) -> None:
    if kind not in _KINDS[what]:
        raise InvalidInput(f"kind {kind!r}: use {' | '.join(_KINDS[what])}")


def _ready(what: What) -> Iterator[tuple[str, Path]]:
    """Ready recipes of this sort, by folder and name."""
    for path in sorted(READY.glob("*/*.yaml")):
        if _kind_of(path, path.stat().st_mtime_ns) in _KINDS[what]:
            yield path.relative_to(READY).with_suffix("").as_posix(), path


@lru_cache(maxsize=256)
def _kind_of(path: Path, changed: int) -> Any:  # noqa: ANN401 - whatever the file says
    """Of a recipe as of the moment it was ``changed``: to read all of them takes longer than the rest of the page."""
    return read_recipe(path).get("kind")


@cache
def schema_of(kind: str) -> dict[str, Any]:
    """The JSON schema of a kind of recipe. The first call imports the recipes, and torch with them."""
    with heavy_imports():
        from evaluation.recipes.stress_test import StressTestRecipe
        from trainer.recipes import AnyTrainingRecipe

    if kind in STRESS_KINDS:
        return StressTestRecipe.model_json_schema()
    union = TypeAdapter(AnyTrainingRecipe).json_schema()
    reference = union["discriminator"]["mapping"][kind]
    schema: dict[str, Any] = union["$defs"][reference.rpartition("/")[2]]
    return {**schema, "$defs": union["$defs"]}
