"""The loss of answers: the backbone sees all tokens, the head only those whose next one is learnt."""

from typing import Any

import torch
from torch import nn

from ..causal import logits_at
from ..layout import Layout
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

    def forward(self, layout: Layout, predict: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """See Batch for the arguments. RETURNS (Tensor): a scalar in float32."""
        logits = logits_at(causal_lm(self.model), predict, ids=layout.ids, positions=layout.positions, mask=layout.mask)
        return nn.functional.cross_entropy(logits.float(), targets, reduction="sum")
