"""The report: one file, nothing from the network, every number, nothing that text could break."""

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from evaluation.figures import Evidence
from evaluation.figures.evidence import Series
from evaluation.report import table, write_report
from evaluation.statistics.averages import averages
from evaluation.statistics.correlation import correlate
from evaluation.statistics.estimate import Estimate
from trainer.errors import StorageFailure

SUMMARY: dict[str, Any] = {"policy": "demo", "n_prompts": 20, "n_responses": 80, "notices": ["one <b>notice</b>"]}


def stress(scorer: str = "rm") -> list[Estimate]:
    """A scorer that follows the oracle at T = 0.5, not at T = 2, and is constant at T = 0."""
    generator = np.random.default_rng(0)
    clusters = np.repeat(np.arange(20), 4)
    estimates = []
    for temperature, weight in ((0.0, 0.0), (0.5, 2.0), (2.0, 0.0)):
        gold, noise, length = generator.standard_normal((3, 80))
        scores = {scorer: weight * gold + noise if temperature else np.zeros(80), "length": length}
        settings: dict[str, Any] = {"draws": 200, "confidence": 0.95, "seed": 0, "temperature": temperature}
        estimates += correlate(clusters, scores, {"gold": gold}, **settings)
        estimates += averages(clusters, {"gold": gold, "length": length}, **settings)
    return estimates


def audit() -> list[Estimate]:
    return [
        each.model_copy(update={"temperature": None})
        for each in stress()
        if each.temperature == 0.5 and each.statistic != "mean"
    ]


def written(directory: Path, estimates: list[Estimate], summary: dict[str, Any] = SUMMARY) -> str:
    path = directory / "report.html"
    write_report(summary, Evidence(estimates), path)
    return path.read_text(encoding="utf-8")


def without_plotly(page: str) -> str:
    return max(re.split(r"<script>.*?</script>", page, flags=re.DOTALL), key=len)


def figures(page: str) -> list[dict[str, Any]]:
    found = re.findall(r'<script type="application/json">(.*?)</script>', page, flags=re.DOTALL)
    return [json.loads(each) for each in found]


def test_the_file_asks_the_network_for_nothing(tmp_path: Path) -> None:
    page = written(tmp_path, stress())
    assert "default-src 'none'" in page
    own = without_plotly(page)
    assert not re.search(r'(?:src|href)="(?!data:|#)', own)
    assert "url(" not in own
    assert "@import" not in own
    assert len(page) - len(own) > 1_000_000  # plotly.js travels with it


def test_a_stress_test_shows_verdict_figures_and_table(tmp_path: Path) -> None:
    page = written(tmp_path, stress())
    text = re.sub(r"\s+", " ", without_plotly(page))
    assert "up to T = 0.5; at T = 2 that is not resolved" in text
    # agreement, pooled beside within, judgement, texts; curves and pooled means were not computed
    assert [len(figure["data"]) > 0 for figure in figures(page)] == [True] * 4
    assert len(figures(page)) == text.count("<figure>")
    assert '<th scope="col">T = 0.5</th>' in text
    assert "T = 0: no prompt&#39;s scores differ (rm)" in text
    assert "Trivial controls" in text


def test_an_audit_shows_a_forest_and_a_table_of_statistics(tmp_path: Path) -> None:
    page = written(
        tmp_path, audit(), {"path": "somewhere/judged.jsonl", "name": "audit", "n_prompts": 20, "n_responses": 80}
    )
    assert "Audit of <strong>judged.jsonl</strong>" in page
    assert len(figures(page)) == 1
    assert '<th scope="col">r between prompts</th>' in page


def test_every_estimate_is_in_the_page(tmp_path: Path) -> None:
    estimates = stress()
    page = written(tmp_path, estimates)
    assert f"All {len(estimates)} estimates" in page
    rows = re.findall(r"<tr><th scope=\"row\">", page[page.index("<details>") :])
    assert len(rows) == len(estimates)


def test_every_figure_says_what_to_read_off_it(tmp_path: Path) -> None:
    own = without_plotly(re.sub(r'<script type="application/json">.*?</script>', "", written(tmp_path, stress())))
    captions = re.findall(r"<h2>[^<]+</h2>\s*<p class=\"text\">([^<]+)</p>\s*<figure>", own)
    assert len(captions) == own.count("<figure>") == 4
    assert all(len(caption) > 60 for caption in captions)


def test_the_verdict_stands_before_everything_but_the_title(tmp_path: Path) -> None:
    body = written(tmp_path, stress()).partition("<main>")[2]
    assert body.index('class="verdict"') < min(body.index(each) for each in ("<ul", "<dl", "<section", "<table"))


def test_printing_has_rules_of_its_own(tmp_path: Path) -> None:
    page = written(tmp_path, stress())
    assert "@media print" in page
    assert 'addEventListener("beforeprint"' in page


def test_a_comparison_of_two_policies_says_who_wins_where(tmp_path: Path) -> None:
    def won(temperature: float, share: float) -> Estimate:
        first = next(each for each in stress() if each.estimate is not None and each.lower is not None)
        ends = {"estimate": share, "lower": share - 0.1, "upper": share + 0.1, "temperature": temperature}
        return first.model_copy(update={**ends, "scorer": "new", "statistic": "win_rate_over_old"})

    page = written(tmp_path, [won(0.5, 0.8), won(1.0, 0.7), won(2.0, 0.45)], {"kind": "win_rate", "name": "new"})
    text = re.sub(r"\s+", " ", without_plotly(page).replace("\N{NO-BREAK SPACE}", " "))
    assert "By gold, new is judged better than old at T = 0.5 to 1 (80 % [70, 90] of pairs at T = 0.5)" in text
    assert "which of new and old is better is not resolved at T = 2 (45 % [35, 55] of pairs)." in text
    assert "Comparison of <strong>new</strong>" in text
    assert len(figures(page)) == 1


def test_a_training_run_says_where_it_began_and_ended(tmp_path: Path) -> None:
    metrics = [Series("train", "loss", [(1, 0.69), (90, 0.25)]), Series("train", "grad_norm", [(1, 1.0), (90, 2.0)])]
    write_report({"name": "my-policy"}, Evidence(metrics=metrics), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "In 90 steps loss went from 0.69 to 0.25." in page
    assert "Training of <strong>my-policy</strong>" in page
    assert len(figures(page)) == 1


def test_names_cannot_become_markup(tmp_path: Path) -> None:
    page = written(tmp_path, stress("</script><img src=x>"))
    assert "<img" not in page.replace(page[page.index("<script>") :], "")
    assert "one &lt;b&gt;notice&lt;/b&gt;" in page
    assert any(trace.get("name") == "</script><img src=x>" for trace in figures(page)[0]["data"])


def test_a_long_name_in_the_table_is_broken_between_its_parts(tmp_path: Path) -> None:
    page = written(tmp_path, stress("ganpo/discriminator:chosen"))
    assert '<th scope="row"><span>ganpo/<wbr>discriminator:<wbr>chosen</span></th>' in page


def test_a_report_of_nothing_is_still_a_page(tmp_path: Path) -> None:
    assert "Nothing was estimated." in written(tmp_path, [], {"path": "f"})


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailure):
        write_report(SUMMARY, Evidence(stress()), tmp_path / "file" / "report.html")


def printed(estimates: list[Estimate]) -> list[str]:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table(estimates))
    return console.export_text().splitlines()


def test_the_terminal_table_has_a_line_for_each_scorer_and_its_interval_below() -> None:
    lines = printed(stress())
    place = next(index for index, line in enumerate(lines) if line.startswith("rm"))
    assert re.fullmatch(r"rm +– +0\.\d\d +−?0\.\d\d *", lines[place])
    assert re.fullmatch(r" +0\.\d\d 0\.\d\d +−0\.\d\d 0\.\d\d *", lines[place + 1])
    assert any("T = 0: no prompt's scores differ (rm)" in line for line in lines)
    assert [line.strip() for line in lines].index("trivial controls") > place


def test_without_temperatures_statistics_stand_across() -> None:
    assert "r within prompts" in printed(audit())[1]
