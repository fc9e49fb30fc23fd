"""From hidden states to log-probabilities of given tokens, without ever holding all logits."""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from trainer.errors import InvalidInput

CHUNK_LOGITS, CHUNK_ROWS = 2**24, 256
"""Logits held at once, 64 MiB in float32: more only costs memory. But no fewer rows than keep a matrix product busy."""


@dataclass(frozen=True)
class LogitMap:
    """What an architecture does to its head's outputs x: z = scale x, or softcap tanh(scale x / softcap)."""

    scale: float = 1.0
    softcap: float | None = None

    def __call__(self, outputs: Tensor) -> Tensor:
        """Logits, float32, in the place of ``outputs`` where these are float32 already."""
        logits = outputs.float()
        if self.softcap is not None:
            return logits.mul_(self.scale / self.softcap).tanh_().mul_(self.softcap)
        return logits if self.scale == 1.0 else logits.mul_(self.scale)

    def slope(self, logits: Tensor) -> Tensor | float:
        """dz/dx where z is ``logits``."""
        if self.softcap is None:
            return self.scale
        return (logits / self.softcap).square_().neg_().add_(1).mul_(self.scale)


def label_logps(head: nn.Module, logit_map: LogitMap, hidden_states: Tensor, labels: Tensor) -> Tensor:
    """log p(label) in float32 (n,), of ``labels`` (n,) at ``hidden_states`` (n, hidden).

    Raises InvalidInput for a head that is more than its weight and bias, such as one with an adapter.
    """
    if not isinstance(head, nn.Linear):
        raise InvalidInput(
            f"the language head is a {type(head).__name__}, not a linear map; leave it out of the adapter"
        )
    device = hidden_states.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else head.weight.dtype
    logps = _LabelLogps.apply(  # type: ignore[no-untyped-call]
        hidden_states.to(dtype), head.weight, head.bias, labels, logit_map
    )
    return cast(Tensor, logps)


@torch.no_grad()
def measure_logit_map(model: PreTrainedModel) -> LogitMap:
    """Put known outputs in place of the head's and see what logits the model's own forward makes of them.

    No list of architectures could be complete, and a scale or cap overlooked would change every log-probability.
    A model on the meta device, which computes nothing, passes for a plain one. Raises InvalidInput where the head
    reads something else than the last hidden states, or the map has another form.
    """
    if model.device.type == "meta":
        return LogitMap()
    head, backbone = cast(nn.Module, model.get_output_embeddings()), cast(nn.Module, model.get_decoder())
    seen: dict[str, Tensor] = {}

    def replace(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        seen["read"] = inputs[0]
        half = torch.logspace(-3, 6, output.shape[-1] // 2, device=output.device)
        seen["outputs"] = torch.cat([-half, half.new_zeros(output.shape[-1] % 2), half])
        return seen["outputs"].expand(output.shape)

    def remember(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ANN401 - any architecture's
        seen["hidden"] = output.last_hidden_state

    hooks = [head.register_forward_hook(replace), backbone.register_forward_hook(remember)]
    try:
        token = torch.zeros((1, 1), dtype=torch.long, device=model.device)
        logits = cast(Tensor, model(input_ids=token, use_cache=False).logits)[0, -1].float()
    finally:
        for hook in hooks:
            hook.remove()
    outputs = seen["outputs"]
    if logits.shape == outputs.shape and torch.equal(seen["read"], seen["hidden"]):
        scale = float(logits[-(len(outputs) // 2)] / outputs[-(len(outputs) // 2)])
        for found in (LogitMap(scale), LogitMap(scale, float(logits[-1]))):
            if torch.allclose(found(outputs.clone()), logits, rtol=1e-5):
                return found
    raise InvalidInput(
        f"{type(model).__name__} makes its logits in a way that is not known here; train an architecture whose logits"
        " are a linear map of its last hidden states, scaled or softly capped"
    )


class _LabelLogps(torch.autograd.Function):
    """log softmax(map(W h + b))[label] per row; backward makes each chunk of logits anew instead of storing them."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's
        rows: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        logit_map: LogitMap,
    ) -> Tensor:
        ctx.logit_map, ctx.chunk = logit_map, max(CHUNK_ROWS, CHUNK_LOGITS // weight.shape[0])
        logps = torch.empty(len(rows), dtype=torch.float32, device=rows.device)
        normalisers = torch.empty_like(logps)
        cast_weight, cast_bias = _cast(rows, weight, bias)
        for start in range(0, len(rows), ctx.chunk):
            part = slice(start, start + ctx.chunk)
            logits = _logits(rows[part], cast_weight, cast_bias, logit_map)
            normalisers[part] = logits.logsumexp(dim=1)
            logps[part] = logits.gather(1, labels[part, None])[:, 0] - normalisers[part]
        ctx.save_for_backward(rows, weight, bias, labels, normalisers)
        return logps

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        rows, weight, bias, labels, normalisers = ctx.saved_tensors
        cast_weight, cast_bias = _cast(rows, weight, bias)
        needs_rows, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        grad_rows = torch.empty_like(rows) if needs_rows else None
        # summed in float32: sums of bfloat16 products over chunks would be rounded once per chunk
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if needs_weight else None
        grad_bias = torch.zeros_like(bias, dtype=torch.float32) if needs_bias else None
        for start in range(0, len(rows), ctx.chunk):
            part = slice(start, start + ctx.chunk)
            logits = _logits(rows[part], cast_weight, cast_bias, ctx.logit_map)
            slope = ctx.logit_map.slope(logits)
            # d log p(y) / dz_v = [v = y] - p(v)
            grad_logits = logits.sub_(normalisers[part, None]).exp_().mul_(-grad[part, None])
            grad_logits.scatter_add_(1, labels[part, None], grad[part, None])
            grad_outputs = (grad_logits if ctx.logit_map == LogitMap() else grad_logits.mul_(slope)).to(rows.dtype)
            if grad_rows is not None:
                torch.mm(grad_outputs, cast_weight, out=grad_rows[part])
            if grad_weight is not None:
                if rows.dtype == torch.float32:
                    grad_weight.addmm_(grad_outputs.T, rows[part])
                else:
                    grad_weight += grad_outputs.T @ rows[part]
            if grad_bias is not None:
                grad_bias += grad_outputs.sum(dim=0)
        return (
            grad_rows,
            None if grad_weight is None else grad_weight.to(weight.dtype),
            None if grad_bias is None else grad_bias.to(bias.dtype),
            None,
            None,
        )


def _cast(rows: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Head parameters in the type of ``rows``: cast when needed, never kept between forward and backward."""
    return weight.detach().to(rows.dtype), None if bias is None else bias.detach().to(rows.dtype)


def _logits(rows: Tensor, weight: Tensor, bias: Tensor | None, logit_map: LogitMap) -> Tensor:
    with torch.autocast(rows.device.type, enabled=False):
        return logit_map(nn.functional.linear(rows, weight, bias))
