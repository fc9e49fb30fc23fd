"""Relativistic average losses of GANPO (arXiv 2601.22083, equations 10-20). Pure functions of logits (rows,).

``E`` is the expectation over rows; where a set may be a part of its batch, or empty, the caller says what that means.
"""

from collections.abc import Callable
from typing import Literal

from torch import Tensor
from torch.nn.functional import logsigmoid

AdversarialLoss = Literal["non_saturating", "saturating"]
Expectation = Callable[[Tensor], Tensor]


def bce(
    logits_real: Tensor, logits_fake: Tensor, mean_real: Tensor, mean_fake: Tensor, E: Expectation = Tensor.mean
) -> Tensor:
    """BCE(h1, h2), eqs. 11 and 15: h1 above the average of h2, h2 below the average of h1.

    -E log sigmoid(C(h1) - m_2) - E log(1 - sigmoid(C(h2) - m_1)), using 1 - sigmoid(x) = sigmoid(-x).
    """
    return -E(logsigmoid(logits_real - mean_fake)) - E(logsigmoid(-(logits_fake - mean_real)))


def discriminator_loss(
    anchor: Tensor,
    policy: Tensor,
    opposite: Tensor,
    means: tuple[Tensor, Tensor, Tensor],
    *,
    quad: bool,
    E: Expectation = Tensor.mean,
) -> Tensor:
    """Eq. 19 for C_chosen on (ref+, theta+, ref-) and eq. 20 for C_rejected on (ref-, theta-, ref+).

    ``quad=False`` keeps the first term, reference above policy, and drops "policy above the opposite reference".
    """
    mean_anchor, mean_policy, mean_opposite = means
    loss = bce(anchor, policy, mean_anchor, mean_policy, E)
    return loss + bce(policy, opposite, mean_policy, mean_opposite, E) if quad else loss


def policy_loss(policy: Tensor, mean_anchor: Tensor, kind: AdversarialLoss, E: Expectation = Tensor.mean) -> Tensor:
    """The term of L_adv through which one discriminator reaches the policy; both kinds raise C(h_theta).

    ``saturating`` is eq. 18 with the mean held constant: E log(1 - sigmoid(C(theta) - m_ref)), which vanishes when
    the discriminator wins. ``non_saturating``, as in the authors' code: -E log sigmoid(C(theta) - m_ref).
    """
    relative = policy - mean_anchor
    return E(logsigmoid(-relative)) if kind == "saturating" else -E(logsigmoid(relative))
