"""How a training run went: losses, margins, accuracies, discriminators."""

from collections.abc import Iterator

from evaluation.figures.drawing import Drawing, file_stem
from evaluation.figures.evidence import Evidence, Series
from evaluation.figures.facets import Facets
from evaluation.figures.style import BLUE, COLOURS, GREEN, ORANGE, PURPLE

_PANELS: dict[str, dict[str, str]] = {
    "loss": {"loss": ""},
    "rewards": {"rewards/chosen": "chosen", "rewards/rejected": "rejected"},
    "margin": {"rewards/margins": ""},
    "accuracy": {"rewards/accuracies": ""},
    "discriminator losses": {"discriminator/chosen/loss": "chosen", "discriminator/rejected/loss": "rejected"},
    "AUC: policy vs reference": {
        "discriminator/chosen/auc_reference_policy": "chosen",
        "discriminator/rejected/auc_reference_policy": "rejected",
    },
    "AUC: chosen vs rejected": {
        "discriminator/chosen/auc_chosen_rejected": "chosen",
        "discriminator/rejected/auc_chosen_rejected": "rejected",
    },
    "gradient norms at h": {
        "adversarial/objective_gradient_norm": "objective",
        "adversarial/gradient_norm": "adversarial",
    },
    "cosine of both gradients": {"adversarial/gradient_cosine": ""},
    "scores": {"objective/scores": ""},
    "KL to the reference": {"objective/kl": ""},
    "reward model's accuracy": {
        "reward_model/accepted/accuracy": "accepted",
        "reward_model/rejected/accuracy": "rejected",
        "reward_model/generated/accuracy": "generated",
    },
    "gradient norms": {"grad_norm": "model", "discriminator/grad_norm": "discriminators"},
    "learning rate": {"learning_rate": ""},
}
"""Metrics by panel, with the word for each in the legend; none where it is the panel's only one."""

_BY_CHANCE = {"accuracy": 0.5, "cosine of both gradients": 0.0}
_COLOURS = {
    "": COLOURS[6],
    "chosen": BLUE,
    "rejected": ORANGE,
    "objective": GREEN,
    "adversarial": PURPLE,
    "accepted": BLUE,
    "generated": PURPLE,
    "model": COLOURS[5],
    "discriminators": COLOURS[7],
}
"""No two of one run are alike: accepted and generated are GAPO's, which has no chosen and no adversarial loss."""
_WIDTH = 25
"""A running mean over so many points lies over the raw course where there are four times as many."""


def training(evidence: Evidence) -> Iterator[Drawing]:
    """A panel for each family of metrics, a drawing for each stage of the run."""
    for stage in dict.fromkeys(each.stage for each in evidence.metrics):
        series = {each.name: each for each in evidence.metrics if each.stage == stage and each.points}
        shown = {
            title: {word: series[name] for name, word in words.items() if name in series}
            for title, words in _PANELS.items()
            if any(name in series for name in words)
        }
        if not shown:
            continue
        panels = Facets(list(shown), x="step", y="", shared_y=False, panel_height=150)
        for index, (title, rows) in enumerate(shown.items()):
            for word, each in rows.items():
                _course(panels, index, each, word)
            highest = max(value for each in rows.values() for _, value in each.points)
            if title == "learning rate" and highest > 0:  # a constant one would be drawn as if it were 0
                panels.axis("y", index, range=[0, 1.1 * highest])
            if title in _BY_CHANCE or title.startswith("AUC"):
                panels.level(_BY_CHANCE.get(title, 0.5), place=index)
        panels.axes(y={"nticks": 5, "exponentformat": "e"})
        yield Drawing(
            file_stem("training", stage),
            f"How training went: {stage}",
            "The raw course is pale, its running mean drawn over it. Margins and accuracies should rise and then hold; "
            "of a discriminator, an AUC that goes to 1 means that it has won and its gradient says little more; "
            "grey lines are what chance gives.",
            panels,
        )


def _course(panels: Facets, index: int, series: Series, word: str) -> None:
    steps, values = [step for step, _ in series.points], [value for _, value in series.points]
    smooth = len(values) >= 4 * _WIDTH and series.name != "learning_rate"
    colour = _COLOURS[word]
    line = {"x": steps, "mode": "lines" if len(steps) > 1 else "markers", "hovertemplate": "step %{x}: %{y:.4g}"}
    if smooth:
        pale = {"line": {"color": colour, "width": 1}, "opacity": 0.3, "hoverinfo": "skip", "hovertemplate": ""}
        panels.add(index, **{**line, **pale}, y=values, name=word, showlegend=False)
    panels.add(
        index,
        **line,
        y=_running_mean(values) if smooth else values,
        line={"color": colour, "width": 2},
        marker={"color": colour},
        **({"name": word} if word else {"name": series.name, "showlegend": False}),
    )


def _running_mean(values: list[float]) -> list[float]:
    """Over ``_WIDTH`` points around each, fewer at the ends."""
    half = _WIDTH // 2
    windows = (values[max(place - half, 0) : place + half + 1] for place in range(len(values)))
    return [sum(window) / len(window) for window in windows]
