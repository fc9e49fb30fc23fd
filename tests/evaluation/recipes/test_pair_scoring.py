"""A scorer's name means one version for a whole run, and untrained twins stand beside discriminators."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from evaluation.engine.pairs import Pair
from evaluation.recipes.pair_scoring import scoring_pairs
from trainer.artifacts import ArtifactStore, Contents
from trainer.data.rows import Pair as Probe
from trainer.errors import AssayError, InvalidInput, NotFound
from trainer.models.loading import make_probes
from trainer.models.starting_point import BackboneOrigin, Scratch
from trainer.pins import settle_versions
from trainer.recipe import Run
from trainer.reporting import Reporter

PAIRS = [Pair("product lamp | color red", "the color is red ."), Pair("product lamp | color red", "it is blue .")]


def publish(store: ArtifactStore, seed: int) -> None:
    model, _ = BackboneOrigin(scratch=Scratch(hidden_size=8, layers=1, heads=1, max_tokens=40)).open(store, seed)
    model.model.eval()
    probes = make_probes(model, [Probe("product lamp | color red", "the color is red .")])
    details = {**model.details(), "calibration": None}
    store.publish("tiny", Contents("reward_model", {}, "0" * 64, {}, details, probes, []), model.save)


@pytest.fixture
def reporter(tmp_path: Path) -> Iterator[Reporter]:
    with Reporter(tmp_path / "run", quiet=True) as reporter:
        yield reporter


@pytest.fixture
def run(tmp_path: Path, reporter: Reporter) -> Run:
    return Run("run_1", reporter.directory, ArtifactStore(tmp_path / "artifacts"), reporter)


def scores(run: Run, name: str) -> list[float | AssayError]:
    with scoring_pairs(run, [name], "error") as scoring:
        assert scoring.score is not None
        return scoring.score([name], PAIRS)[name]


def test_a_version_published_while_a_run_works_changes_nothing_in_it(run: Run) -> None:
    publish(run.artifacts, seed=0)
    with scoring_pairs(run, ["tiny"], "error") as scoring:
        assert scoring.score is not None
        first = scoring.score(["tiny"], PAIRS)["tiny"]
        publish(run.artifacts, seed=1)
        again = scoring.score(["tiny"], PAIRS)["tiny"]
        assert scoring.versions == {"tiny": 1}
    assert again == pytest.approx(first, abs=1e-6)
    assert scores(run, "tiny") == pytest.approx(first, abs=1e-6)  # nor when the run is continued
    assert scores(run, "tiny@2") != pytest.approx(first, abs=1e-3)


def test_outputs_of_one_artifact_are_settled_as_one_version(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "artifacts")
    publish(store, seed=0)
    pinned = settle_versions(["tiny:score"], store, tmp_path)
    publish(store, seed=1)
    assert pinned == {"tiny:score": "tiny@1:score"}
    # asked for another output later, the run stays with the version that it has met
    assert settle_versions(["tiny"], store, tmp_path) == {"tiny:score": "tiny@1:score", "tiny": "tiny@1"}


def test_nobody_asked_for_opens_nothing(run: Run) -> None:
    with scoring_pairs(run, [], "error") as scoring:
        assert (scoring.score, scoring.versions, scoring.untrained) == (None, {}, ())
    assert not (run.directory / "pins.json").exists()


def test_twins_of_a_discriminator_score_the_same_pairs(store: ArtifactStore, reporter: Reporter) -> None:
    run = Run("run_1", reporter.directory, store, reporter)
    names = ["policy/discriminator:chosen", "rm"]
    with scoring_pairs(run, names, "error", beside=names) as scoring:
        assert scoring.score is not None
        assert scoring.untrained == [f"policy/discriminator:untrained_{seed}" for seed in range(10)]
        assert scoring.versions == {"policy/discriminator:chosen": 1, "rm": 1, "policy/discriminator:untrained": 1}
        found = scoring.score([*names, *scoring.untrained], PAIRS)
    assert set(found) == {*names, *scoring.untrained}
    values = [found[name][0] for name in scoring.untrained]
    assert len(set(map(str, values))) == 10


@pytest.mark.parametrize(("name", "error"), [("nobody", NotFound), ("tiny:charm", InvalidInput), ("tiny@7", NotFound)])
def test_a_wrong_name_is_told_before_anything_is_scored(run: Run, name: str, error: type[Exception]) -> None:
    publish(run.artifacts, seed=0)
    with pytest.raises(error), scoring_pairs(run, [name], "error"):
        pass
