"""A rendered prompt can be read back into its task."""

import random
from dataclasses import replace

import pytest

from trainer.data.product_world import perturb_prompt, render_prompt, sample_examples
from trainer.data.product_world.reading import MEASURES, read_prompt
from trainer.errors import InvalidInput


def test_every_task_and_perturbed_task_is_read_back() -> None:
    examples = sample_examples("train", 300, seed=3)
    tasks = [example.task for example in examples]
    tasks += [perturb_prompt(random.Random(index), example)[1] for index, example in enumerate(examples)]
    assert {task.level for task in tasks} == {1, 2, 3, 4, 5}
    for task in tasks:
        assert read_prompt(render_prompt(task)) == replace(task, level=1)


def test_measures_of_a_response_that_misses_one_constraint_of_four() -> None:
    task = read_prompt("product mug | color red ; size big")
    good = sample_examples("train", 1, seed=0, levels=(1,))[0]
    assert MEASURES["satisfied"](good.task, good.response) == MEASURES["share"](good.task, good.response) == 1.0
    assert MEASURES["satisfied"](task, ".") == 0.0
    # wellformed and complete fail, faithful and tone hold: nothing is said
    assert MEASURES["share"](task, ".") == 0.5


@pytest.mark.parametrize("text", ["about mugs", "product mug", "product mug | color", "product mug | color red | loud"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="not a prompt of the product-description world"):
        read_prompt(text)
