"""The default engine: a causal language model run with Hugging Face transformers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from ..answering import LIKELIER, check_begin
from ..base import find_base
from ..causal import open_adapted, open_model
from ..encoding import Encoder
from ..errors import Errors, UniversalNERError
from ..extraction import Extractor
from ..hardware import pick_device, pick_dtype
from ..prompts import load_template
from ..quantization import quantize
from ..registry import Answer
from ..remote import locate_student
from ..student import check_manifest, is_adapter
from ..whole import save_whole


class TransformersEngine:
    """See make_transformers_engine for the arguments. The model is loaded at first use."""

    def __init__(
        self,
        *,
        model: str | None,
        revision: str | None = None,
        template: str | None = None,
        device: str | None,
        dtype: str,
        batch_tokens: int,
        max_new_tokens: int,
        constrain: bool = False,
        min_score: float = 0.0,
        begin: float = LIKELIER,
        dataset: str = "",
    ):
        check_begin(begin)
        if max_new_tokens < 1:
            raise UniversalNERError(Errors.U008.format(name="max_new_tokens", got=max_new_tokens))
        self.model = model
        self.revision = revision
        self.template = template
        self.device = device
        self.dtype = dtype
        self.batch_tokens = batch_tokens
        self.max_new_tokens = max_new_tokens
        self.constrain = constrain
        self.min_score = min_score
        self.begin = begin
        self.dataset = dataset

    @property
    def model(self) -> str | None:
        """The student: a folder, or a repository of a hub. Naming another one lets go of what was loaded."""
        return self._model

    @model.setter
    def model(self, model: str | None) -> None:
        self._model = model
        self._extractor: Extractor | None = None

    @property
    def extractor(self) -> Extractor:
        """The loaded student. RAISES (UniversalNERError): none named or found, or not as its manifest says."""
        if self._extractor is None:
            self._extractor = self._load(self._locate())
        return self._extractor

    def load(self) -> None:
        """Load the student now. RAISES (UniversalNERError): see `extractor`."""
        _ = self.extractor

    def __getstate__(self) -> dict[str, Any]:
        """Without what was loaded: another process loads it itself."""
        return {**self.__dict__, "_extractor": None}

    def save_model(self, folder: str) -> None:
        """Write the whole student into a folder: what is adapters to a base, together with that."""
        save_whole(self._locate(), Path(folder))

    def extract(self, passages: Sequence[str], types: Sequence[Sequence[str]]) -> list[list[Answer]]:
        """See Engine.

        RAISES (UniversalNERError): a passage that does not fit the student's context, a data set its template does not
            tell.
        """
        self.extractor.template.check_dataset(self.dataset)
        return self.extractor.extract(passages, types, [self.dataset] * len(passages))

    def _locate(self) -> Path:
        return locate_student(self.model, revision=self.revision, template=self.template)

    def _load(self, folder: Path) -> Extractor:
        manifest = check_manifest(folder)
        device = pick_device(self.device)
        kind = {"dtype": pick_dtype("float32" if self.dtype == "int8" else self.dtype, device), "device": device}
        if is_adapter(manifest):
            model = open_adapted(find_base(manifest["base"], folder), folder, **kind)
        else:
            model = open_model(folder, **kind)
        encoder = Encoder(AutoTokenizer.from_pretrained(folder, trust_remote_code=False), load_template(folder))
        extractor = Extractor(
            model,
            encoder,
            batch_tokens=self.batch_tokens,
            max_new_tokens=self.max_new_tokens,
            constrain=self.constrain,
            min_score=self.min_score,
            begin=self.begin,
        )
        if self.dtype == "int8":
            quantize(model)  # last: the checks before it compare what rounding to int8 would make differ
        return extractor
