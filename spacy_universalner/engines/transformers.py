"""The default engine: a causal language model run with Hugging Face transformers."""

from collections.abc import Sequence
from pathlib import Path

from transformers import AutoTokenizer

from ..base import find_base
from ..causal import open_adapted, open_model
from ..encoding import Encoder
from ..extraction import Extractor
from ..hardware import pick_device, pick_dtype
from ..prompts import load_template
from ..quantization import quantize
from ..registry import Answer
from ..student import check_manifest, copy_student, find_student, is_adapter


class TransformersEngine:
    """See make_transformers_engine for the arguments. The model is loaded at first use."""

    def __init__(
        self,
        *,
        model: str | None,
        device: str | None,
        dtype: str,
        batch_tokens: int,
        max_new_tokens: int,
        constrain: bool = False,
        min_score: float = 0.0,
        dataset: str = "",
    ):
        self.model = model
        self.device = device
        self.dtype = dtype
        self.batch_tokens = batch_tokens
        self.max_new_tokens = max_new_tokens
        self.constrain = constrain
        self.min_score = min_score
        self.dataset = dataset

    @property
    def model(self) -> str | None:
        """Directory of the student. Naming another one lets go of what was loaded."""
        return self._model

    @model.setter
    def model(self, model: str | None) -> None:
        self._model = model
        self._extractor: Extractor | None = None

    @property
    def extractor(self) -> Extractor:
        """The loaded student. RAISES (UniversalNERError): none named or found, or not as its manifest says."""
        if self._extractor is None:
            self._extractor = self._load(find_student(self.model))
        return self._extractor

    def save_model(self, folder: str) -> None:
        """Copy the whole student into a folder."""
        copy_student(find_student(self.model), Path(folder))

    def extract(self, passages: Sequence[str], types: Sequence[Sequence[str]]) -> list[list[Answer]]:
        """See Engine.

        RAISES (UniversalNERError): a passage that does not fit the student's context, a data set its template does not
            tell.
        """
        self.extractor.template.check_dataset(self.dataset)
        return self.extractor.extract(passages, types, [self.dataset] * len(passages))

    def _load(self, folder: Path) -> Extractor:
        manifest = check_manifest(folder)
        device = pick_device(self.device)
        kind = {"dtype": pick_dtype("float32" if self.dtype == "int8" else self.dtype, device), "device": device}
        if is_adapter(manifest):
            model = open_adapted(find_base(manifest["base"], folder), folder, **kind)
        else:
            model = open_model(folder, **kind)
        encoder = Encoder(AutoTokenizer.from_pretrained(folder), load_template(folder))
        extractor = Extractor(
            model,
            encoder,
            batch_tokens=self.batch_tokens,
            max_new_tokens=self.max_new_tokens,
            constrain=self.constrain,
            min_score=self.min_score,
        )
        if self.dtype == "int8":
            quantize(model)  # last: the checks before it compare what rounding to int8 would make differ
        return extractor
