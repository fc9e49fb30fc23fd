"""Losses of reward models: Bradley-Terry on pairs of scores, binary cross-entropy on single ones."""

from torch import Tensor
from torch.nn.functional import logsigmoid


def bradley_terry(chosen: Tensor, rejected: Tensor, margin: Tensor | float = 0.0, *, centring: float = 0.0) -> Tensor:
    """-log sigmoid(s_w - s_l - m) per pair, plus ``centring`` (s_w + s_l)^2, which pins the scores' free constant.

    Bradley and Terry 1952; the margin m, by how much chosen is better, is that of Llama 2 (arXiv 2307.09288, eq. 2);
    the centring term is that of arXiv 2312.09244, eq. 2. Shapes (pairs,).
    """
    return -logsigmoid(chosen - rejected - margin) + centring * (chosen + rejected) ** 2


def pointwise_bce(chosen: Tensor, rejected: Tensor) -> Tensor:
    """-[log sigmoid(s_w) + log sigmoid(-s_l)] / 2 per pair: GAPO's warm-up (arXiv 2503.20194). Shapes (pairs,)."""
    return -(logsigmoid(chosen) + logsigmoid(-rejected)) / 2


def preference_metrics(loss: Tensor, chosen: Tensor, rejected: Tensor) -> dict[str, Tensor]:
    """What a step of either tells, under TRL's names: means over the pairs (pairs,), and how many are in order."""
    chosen, rejected = chosen.detach(), rejected.detach()
    return {
        "loss": loss.detach(),
        "rewards/chosen": chosen.mean(),
        "rewards/rejected": rejected.mean(),
        "rewards/margins": (chosen - rejected).mean(),
        "rewards/accuracies": (chosen > rejected).float().mean(),
    }
