"""What is known of recipes without importing them is what they are."""

from pydantic import TypeAdapter

from service.jobs.kinds import EVALUATION_KINDS, TRAINING_KINDS


def test_the_kinds_are_those_that_can_be_run() -> None:
    from evaluation.recipes import AnyRecipe

    known = TypeAdapter(AnyRecipe).json_schema()["discriminator"]["mapping"].keys()
    assert known == {*TRAINING_KINDS, *EVALUATION_KINDS}
