"""A lineage is drawn from left to right, parents before what was made of them."""

import re
from itertools import pairwise
from pathlib import Path

from service.dashboard.lineage import lineage
from trainer.artifacts import ArtifactStore, Contents
from trainer.manifest import Artifact, Parent


def publish(store: ArtifactStore, name: str, *parents: Parent) -> Artifact:
    contents = Contents("policy", {}, "0" * 64, {}, {}, [], list(parents))
    return store.publish(name, contents, lambda directory: (directory / "config.json").write_text("{}") and None)


def test_an_artifact_alone_has_no_lineage(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    alone, _ = publish(store, "alone"), publish(store, "other")

    assert lineage(alone, store.all()) is None


def test_ancestors_stand_left_and_descendants_right_and_strangers_nowhere(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    policy = publish(store, "policy")
    model = publish(store, "model", policy.as_parent("backbone"))
    child = publish(store, "child", model.as_parent("reward_model"), policy.as_parent("policy"))
    publish(store, "sibling", policy.as_parent("policy"))
    publish(store, "stranger")

    drawn = lineage(model, store.all())
    assert drawn is not None
    places = {box.reference: (box.x, box.y) for box in drawn.boxes}
    # boxes are 232 wide with 160 between: 60 for bends, 100 for the 12 letters of "reward model". The child is two
    # steps from the policy although it is its parent too, and the line from one to the other has a row of its own, 54
    # high for two lines that end at one box and 18 below the next, past the model
    assert places == {"policy@1": (0, 36), "model@1": (392, 0), "child@1": (784, 36)}
    past = next(line for line in drawn.lines if line.role == "policy")
    assert "H624" in past.path  # 392 + 232: straight along the model's column
    assert [box.reference for box in drawn.boxes if box.here] == ["model@1"]
    assert sorted(line.role for line in drawn.lines) == ["backbone", "policy", "reward model"]
    assert (drawn.width, drawn.height) == (784 + 232, 72 + 54)
    assert child.reference in places


def test_a_parent_that_is_not_here_any_more_has_its_place(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    orphan = publish(store, "orphan", Parent(role="reference", name="gone", version=3, digest="0" * 64))

    drawn = lineage(orphan, store.all())
    assert drawn is not None
    assert [(box.reference, box.kind) for box in drawn.boxes] == [("gone@3", ""), ("orphan@1", "policy")]


def test_a_parent_in_two_ways_is_one_line_and_two_children_stand_below_each_other(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    policy = publish(store, "policy")
    publish(store, "a", policy.as_parent("policy"), policy.as_parent("reference"))
    publish(store, "b", policy.as_parent("policy"))

    drawn = lineage(policy, store.all())
    assert drawn is not None
    places = {box.reference: (box.x, box.y) for box in drawn.boxes}
    # two rows of 46 with 18 between, the parent in the middle of them; 232 + 60 + 16, and 17 letters, then the children
    assert places == {"policy@1": (0, 32), "a@1": (427, 0), "b@1": (427, 64)}
    assert sorted(line.role for line in drawn.lines) == ["policy", "policy, reference"]


def test_the_end_of_a_long_name_is_what_is_shown(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    long = publish(store, "x" * 40 + "-end", Parent(role="r", name="gone", version=1, digest="0" * 64))
    drawn = lineage(long, store.all())
    assert drawn is not None
    (box,) = [box for box in drawn.boxes if box.here]
    assert box.short == "…" + "x" * 21 + "-end@1"
    assert len(box.short) == 28


def test_lines_that_end_at_one_box_leave_room_for_their_roles(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    roles = ["backbone", "anchor", "reference", "warm_up", "policy"]
    parents = [publish(store, f"parent-{role}").as_parent(role) for role in roles]
    drawn = lineage(publish(store, "child", *parents), store.all())
    assert drawn is not None
    heights = sorted(line.y for line in drawn.lines)
    # six parts of a box of 108
    assert [later - earlier for earlier, later in pairwise(heights)] == [18] * 4
    assert drawn.box_height == 108


def test_where_roles_are_written_no_line_is_on_its_way_up_or_down(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    base = publish(store, "base")
    policy = publish(store, "policy", base.as_parent("backbone"))
    tuned = publish(store, "tuned", policy.as_parent("initial_policy"), base.as_parent("reference_policy"))
    model = publish(store, "model", tuned.as_parent("policy"), base.as_parent("backbone"), policy.as_parent("warm_up"))

    drawn = lineage(model, store.all())
    assert drawn is not None
    for line in drawn.lines:
        # a curve's own end, and from there straight on to the end of the next box
        ends = re.findall(r"C\S+ \S+ \S+ \S+ (\d+) \S+H(\d+)", line.path)
        written = {column: column - 8 - 7 * len("reference policy") for column in {box.x for box in drawn.boxes}}
        assert len(ends) == line.path.count("C")
        for bent, straight in ends:
            column = max(place for place in written if place <= int(straight))
            assert int(bent) <= written[column]
