"""An encoder's last layer, read at the first token alone: all that a head on ``[CLS]`` looks at.

Behind the last attention no token meets another, so its output, the normalisation and the feed-forward network need be
computed for the first token only. Of six layers that is a tenth of the time, of twelve a twentieth.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from trainer.models.packed import line_being_read
from trainer.models.trial import UNABLE, alike


@torch.no_grad()
def read_first_token_only(model: PreTrainedModel) -> bool:
    """Have the last layer of ``model`` go on with the first token behind its attention; returns whether it does.

    Where layers are built as BERT's are, the residual given to the attention's output. Tried on short texts, one of
    them padded and of a length that windows do not divide, because no list of architectures could be complete; where a
    score would be another, nothing is changed. BigBird with sparse attention is left alone untried: one text shorter
    than its blocks has it attend fully for good.
    """
    output = _last_attention_output(model)
    if output is None or getattr(model.config, "attention_type", None) == "block_sparse":
        return False
    ids = torch.tensor([[1, 2, 3, 4, 5], [1, 2, 4, 3, 3]], device=model.device) % model.config.vocab_size
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], device=model.device)
    training = model.training
    model.eval()
    handle: RemovableHandle | None = None
    try:
        before = model(input_ids=ids, attention_mask=mask).logits
        handle = output.register_forward_pre_hook(_first)
        after = model(input_ids=ids, attention_mask=mask).logits
        if alike(after, before, before.dtype, 1e-4):
            return True
    except UNABLE:
        pass
    finally:
        model.train(training)
    if handle is not None:
        handle.remove()
    return False


def _first(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    line = line_being_read()
    return tuple(
        (each[:, :1] if line is None else line.first(each)) if isinstance(each, Tensor) else each for each in inputs
    )


def _last_attention_output(model: PreTrainedModel) -> nn.Module | None:
    layers = getattr(getattr(model.base_model, "encoder", None), "layer", None)
    if not isinstance(layers, nn.ModuleList) or not len(layers):
        return None
    output = getattr(getattr(layers[-1], "attention", None), "output", None)
    return output if isinstance(output, nn.Module) else None
