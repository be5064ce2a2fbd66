"""The loss of answers: the backbone sees all tokens, the head only those whose next one is learnt."""

from typing import Any

import torch
from torch import nn

from ..attention import NO_MASK, planned
from ..causal import logits_at
from ..layout import Layout
from ..tree import Line
from .model import causal_lm


class AnswerLoss(nn.Module):
    """Summed cross entropy of the learnt tokens of a batch.

    A head over 49,152 tokens is a fifth of this model's work and most of its memory; answers are a tenth to a fifth of
    the tokens.

    model (PreTrainedModel or PeftModel): what is trained.
    """

    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def forward(self, layout: Layout | Line, predict: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """See Batch for the arguments. RETURNS (Tensor): a scalar in float32."""
        model = causal_lm(self.model)
        if isinstance(layout, Line):
            ids, positions = (torch.tensor([numbers]) for numbers in (layout.ids, layout.positions))
            with planned(layout.plan(model.device, keeps=False)):
                logits = logits_at(model, predict, ids=ids, positions=positions, mask=NO_MASK)
        else:
            logits = logits_at(model, predict, ids=layout.ids, positions=layout.positions, mask=layout.mask)
        return nn.functional.cross_entropy(logits.float(), targets.to(logits.device), reduction="sum")
