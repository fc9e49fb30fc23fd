"""How a training run went: losses, margins, accuracies, discriminators."""

from collections.abc import Iterator

from evaluation.figures.drawing import Drawing, file_stem
from evaluation.figures.evidence import Evidence, Series
from evaluation.figures.facets import Facets
from evaluation.figures.style import BLUE, GREEN, GREY, ORANGE, PURPLE

_PANELS: dict[str, tuple[str, ...]] = {
    "loss": ("loss",),
    "rewards": ("rewards/chosen", "rewards/rejected"),
    "margin": ("rewards/margins",),
    "accuracy": ("rewards/accuracies",),
    "discriminator losses": ("discriminator/chosen/loss", "discriminator/rejected/loss"),
    "AUC: policy from reference": (
        "discriminator/chosen/auc_reference_policy",
        "discriminator/rejected/auc_reference_policy",
    ),
    "AUC: chosen from rejected": (
        "discriminator/chosen/auc_chosen_rejected",
        "discriminator/rejected/auc_chosen_rejected",
    ),
    "gradient norms at h": ("adversarial/objective_gradient_norm", "adversarial/gradient_norm"),
    "cosine of the two gradients": ("adversarial/gradient_cosine",),
    "scores and reward": ("objective/scores", "objective/rlhf_reward"),
    "KL to the reference": ("objective/kl",),
    "reward model's accuracy": ("reward_model/live/accuracy", "reward_model/anchor/accuracy"),
    "gradient norm": ("grad_norm", "discriminator/grad_norm"),
    "learning rate": ("learning_rate",),
}
_BY_CHANCE = {"accuracy": 0.5, "cosine of the two gradients": 0.0}
_COLOURS = {"chosen": BLUE, "rejected": ORANGE, "live": BLUE, "anchor": PURPLE}
_WIDTH = 25
"""A running mean over so many points lies over the raw course where there are four times as many."""


def training(evidence: Evidence) -> Iterator[Drawing]:
    """A panel for each family of metrics, a drawing for each stage of the run."""
    for stage in dict.fromkeys(each.stage for each in evidence.metrics):
        series = {each.name: each for each in evidence.metrics if each.stage == stage and each.points}
        shown = {
            title: [series[name] for name in names if name in series]
            for title, names in _PANELS.items()
            if any(name in series for name in names)
        }
        if not shown:
            continue
        panels = Facets(list(shown), x="step", y="", shared_y=False, panel_height=150)
        for index, (title, rows) in enumerate(shown.items()):
            for place, each in enumerate(rows):
                _course(panels, index, each, place, alone=len(rows) == 1)
            if title in _BY_CHANCE or title.startswith("AUC"):
                row, column = panels.place(index)
                level = _BY_CHANCE.get(title, 0.5)
                panels.figure.add_hline(y=level, line={"color": GREY, "width": 1}, row=row, col=column)
        panels.axes(y={"nticks": 5, "exponentformat": "e"})
        yield Drawing(
            file_stem("training", stage),
            f"How training went: {stage}",
            "The raw course is pale, its running mean drawn over it. Margins and accuracies should rise and then hold; "
            "of a discriminator, an AUC that goes to 1 means that it has won and its gradient says little more; "
            "grey lines are what chance gives.",
            panels.figure,
        )


def _course(panels: Facets, index: int, series: Series, place: int, *, alone: bool) -> None:
    steps, values = [step for step, _ in series.points], [value for _, value in series.points]
    word = next((part for part in series.name.split("/") if part in _COLOURS), None)
    colour = BLUE if alone else _COLOURS.get(word or "", (GREEN, ORANGE)[place % 2])
    name = (word or series.name) if not alone else ""
    smooth = len(values) >= 4 * _WIDTH and series.name != "learning_rate"
    line = {"x": steps, "mode": "lines" if len(steps) > 1 else "markers", "hovertemplate": "step %{x}: %{y:.4g}"}
    if smooth:
        pale = {"line": {"color": colour, "width": 1}, "opacity": 0.3, "hoverinfo": "skip", "hovertemplate": None}
        panels.add(index, **{**line, **pale}, y=values, name=name, showlegend=False)
    panels.add(
        index,
        **line,
        y=_running_mean(values) if smooth else values,
        line={"color": colour, "width": 2},
        marker={"color": colour},
        **({"name": name} if name else {"name": series.name, "showlegend": False}),
    )


def _running_mean(values: list[float]) -> list[float]:
    """Over ``_WIDTH`` points around each, fewer at the ends."""
    half = _WIDTH // 2
    windows = (values[max(place - half, 0) : place + half + 1] for place in range(len(values)))
    return [sum(window) / len(window) for window in windows]
