"""What a recipe's rows are: read where they are here, else said from what is known of them."""

from collections.abc import Callable, Sequence

from trainer.artifacts import names_directory
from trainer.data.known import known_data
from trainer.data.rows import Pair, Preference
from trainer.data.schemas import read_pair, read_preference, read_prompt
from trainer.data.sources import DataSource, FileData, ProductWorldData, Skipped
from trainer.data.tables import Row, Table
from trainer.data.text import Prompt
from trainer.errors import InvalidInput
from trainer.recipe import Model
from trainer.recipes.gapo import GAPO
from trainer.recipes.ppo import PPO
from trainer.recipes.preference import PreferenceTraining
from trainer.recipes.preferential_data import check_contrast, contrasting
from trainer.recipes.rounds import RoundsRecipe
from trainer.recipes.sft import SFT
from trainer.recipes.training import TrainingRecipe

_MADE_ROWS = 20_000
"""Rows of the product-description world that are made to be checked, some seconds' worth: a server may be asked."""

Rows = Sequence[Pair | Preference | Prompt]


class DataReport(Model):
    """What the rows are."""

    place: str
    rows: int | None
    """To train on; None where they cannot be counted here."""
    held_out_rows: int | None
    found: str
    """``read`` from files here, ``known`` from the data set's card, or ``unknown``."""


def prompt_of(row: Pair | Preference | Prompt) -> Prompt:
    """What is answered in a row."""
    if isinstance(row, Preference):
        return row.sides[0].prompt
    return row.prompt if isinstance(row, Pair) else row


def check_data(recipe: TrainingRecipe | RoundsRecipe) -> tuple[DataReport, list[str], Rows | None]:
    """Read what is here, and say what is known of what is not; the rows to train on, if they were read."""
    data = recipe.data
    lengths = f"lengths: rows whose response exceeds {data.longest[0]:,} tokens are left out when they are tokenised"
    if isinstance(recipe, RoundsRecipe):
        lengths = (
            f"lengths: a prompt that leaves no room for {recipe.ppo.max_response_tokens:,} tokens of response, or that"
            " the reward model would have to cut, is refused when it is tokenised"
        )
    if isinstance(data, FileData) and Table(data.path).holds_splits and not names_directory(data.path):
        known = known_data(data.path)
        if known is None or data.split not in known.rows:
            missing = f"data: {data.path}, split {data.split}, is on the hub and not known here"
            return DataReport(place=data.path, rows=None, held_out_rows=None, found="unknown"), [missing, lengths], None
        _reader(recipe)(known.example)
        rows = min(known.rows[data.split], data.limit or known.rows[data.split])
        held_out = [] if data.validation is None else [f"data: held-out rows {data.validation} of {data.path}"]
        report = DataReport(place=data.path, rows=rows, held_out_rows=None, found="known")
        return report, [*held_out, lengths], None
    if isinstance(data, ProductWorldData) and data.size + data.validation_size > _MADE_ROWS:
        report = DataReport(place=data.place, rows=data.size, held_out_rows=data.validation_size, found="known")
        return report, [f"data: more than {_MADE_ROWS:,} rows are made when it runs, not here", lengths], None
    said: list[Skipped] = []
    training, held = _read(recipe, data, said, held_out=False), _read(recipe, data, said, held_out=True)
    report = DataReport(place=data.place, rows=len(training), held_out_rows=len(held), found="read")
    return report, [*map(str, said), lengths], training


def _reader(recipe: TrainingRecipe | RoundsRecipe) -> Callable[[Row], object]:
    """What one row must be."""
    if isinstance(recipe, SFT):
        return read_pair
    return read_prompt if isinstance(recipe, PPO) else read_preference


def _read(recipe: TrainingRecipe | RoundsRecipe, data: DataSource, said: list[Skipped], *, held_out: bool) -> Rows:
    if isinstance(recipe, SFT):
        return data.pairs(held_out=held_out, report=said.append)
    if isinstance(recipe, PPO):
        return data.prompts(held_out=held_out, report=said.append)
    if isinstance(recipe, GAPO):
        data = contrasting(data, recipe.augmentation)
    rows = data.preferences(held_out=held_out, report=said.append)
    if isinstance(recipe, GAPO):
        check_contrast(rows, recipe.augmentation, f"{data.place} (held out)" if held_out else data.place)
    pairwise = not isinstance(recipe, PreferenceTraining) or recipe.objective.pairwise
    if pairwise and not all(row.paired for row in rows):
        raise InvalidInput(
            f"{data.place} has responses judged one by one, and this recipe compares two: give rows with chosen and"
            " rejected, or use objective kto"
        )
    return rows
