"""Figures as image files: what is written, and what is said where nothing can draw."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from evaluation.figures import Drawing, export
from evaluation.figures.export import on_paper, write_images
from evaluation.figures.figure import Figure
from trainer.errors import InvalidInput

HAS_KALEIDO = find_spec("kaleido") is not None
HAS_CHROMIUM = any(shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome", "chrome"))


def drawing(name: str = "curve") -> Drawing:
    figure = Figure()
    figure.add(x=[0, 1], y=[0, 1])
    return Drawing(name, "A curve", "It rises.", figure)


def test_on_paper_a_figure_is_white_and_has_its_title_in_room_of_its_own() -> None:
    figure = drawing().figure
    paper = on_paper(figure, "A curve")
    assert (paper.layout.paper_bgcolor, paper.layout.title.text) == ("white", "A curve")
    assert paper.layout.margin.t - figure.layout["margin"]["t"] == 44
    assert "paper_bgcolor" not in figure.layout  # pages go on to bring their own


def test_without_kaleido_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match=r"reward-assay\[figures\]"):
        write_images([drawing()], tmp_path, "png")
    assert not list(tmp_path.iterdir())


def test_without_a_browser_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_browser(*_: object, **__: object) -> None:
        raise RuntimeError("Kaleido requires Google Chrome to be installed.")

    monkeypatch.setattr(export, "find_spec", lambda name: object())
    monkeypatch.setattr(export.plotly.io, "write_images", no_browser)
    with pytest.raises(InvalidInput, match="install chromium"):
        write_images([drawing()], tmp_path, "svg")
    assert not list(tmp_path.iterdir())  # no empty images either


@pytest.mark.skipif(not (HAS_KALEIDO and HAS_CHROMIUM), reason="needs kaleido and a Chromium")
@pytest.mark.filterwarnings("ignore")  # what a browser's pipes say when they close
def test_every_drawing_is_written_under_its_name(tmp_path: Path) -> None:
    for form in ("png", "svg"):
        paths = write_images([drawing("one"), drawing("two")], tmp_path, form)
        assert [path.name for path in paths] == [f"one.{form}", f"two.{form}"]
    assert (tmp_path / "one.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes((tmp_path / "one.png").read_bytes()[16:20]) == 2 * 980
    assert "A curve" in (tmp_path / "two.svg").read_text()
