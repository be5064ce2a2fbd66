"""The `universal_ner_token_classifier` component: entities of the labels an encoder was trained on."""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import srsly
from spacy.language import Language
from spacy.pipeline import Pipe
from spacy.tokens import Doc, SpanGroup, Token
from spacy.training import Example
from spacy.util import minibatch

from ..errors import Errors, UniversalNERError
from ..records import read_json, write_json
from ..student import WEIGHTS, check_manifest, write_manifest
from .tagging import OUTSIDE, choose_windows, cut_words, read_tags

NAME = "universal_ner_token_classifier"
MODEL = "model"
SHIFTED = ("roberta", "xlm-roberta", "camembert")
"""Encoders whose positions begin after that of padding: two fewer than they say."""
REQUIRED = ("config.json", WEIGHTS, "tokenizer.json")


@Language.factory(
    NAME,
    assigns=["doc.ents", "doc.spans", "token.ent_iob", "token.ent_type"],
    default_config={
        "device": None,
        "max_tokens": 512,
        "overlap": 32,
        "batch_size": 32,
        "spans_key": NAME,
        "scorer": {"@scorers": "spacy.ner_scorer.v1"},
    },
    default_score_weights={"ents_f": 1.0, "ents_p": 0.0, "ents_r": 0.0, "ents_per_type": None},
)
def make_token_classifier(
    nlp: Language,
    name: str,
    device: str | None,
    max_tokens: int,
    overlap: int,
    batch_size: int,
    spans_key: str,
    scorer: Callable[..., dict[str, Any]] | None,
) -> "TokenClassifier":
    """Make the component. See TokenClassifier for the arguments."""
    return TokenClassifier(
        name,
        device=device,
        max_tokens=max_tokens,
        overlap=overlap,
        batch_size=batch_size,
        spans_key=spans_key,
        scorer=scorer,
    )


class Pieces:
    """Words as word pieces. Special tokens are not recognised in them.

    tokenizer (PreTrainedTokenizerFast): the encoder's tokenizer.
    """

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer
        self._first = [i for i in (tokenizer.cls_token_id, tokenizer.bos_token_id) if i is not None][:1]
        self._last = [i for i in (tokenizer.sep_token_id, tokenizer.eos_token_id) if i is not None][:1]

    @property
    def around(self) -> int:
        """Tokens that stand around the words of a window."""
        return len(self._first) + len(self._last)

    def cut(self, words: Sequence[str], room: int) -> list[list[int]]:
        """The ids of each word, at least one: what the tokenizer sees nothing in is unknown to it.

        room (int): ids of a word at most; its first ones are kept.
        """
        if not words:
            return []
        options = {"is_split_into_words": True, "add_special_tokens": False, "split_special_tokens": True}
        encoded = self.tokenizer(list(words), **options, verbose=False)
        found: list[list[int]] = [[] for _ in words]
        for i, number in zip(encoded["input_ids"], encoded.word_ids(), strict=True):
            found[number].append(i)
        return [ids[:room] or [self.tokenizer.unk_token_id] for ids in found]

    def frame(self, pieces: Sequence[Sequence[int]]) -> tuple[list[int], list[int]]:
        """The ids of a window, and where each of its words begins in them."""
        ids, starts = list(self._first), []
        for piece in pieces:
            starts.append(len(ids))
            ids += piece
        return ids + self._last, starts


class TokenClassifier(Pipe):
    """Finds the entities of the labels that an encoder with a layer of tags was trained on (BERT and the like).

    Each word, a token of spaCy's, has the tag of its first word piece. Long docs are read in windows that overlap, and
    each word has its tag from the window that it stands most within. `doc.ents` gets the entities, and
    `doc.spans[spans_key]` too, with the probability of their tags as scores. The weights are saved with the pipeline.

    name (str): name of the component in its pipeline.
    device (str | None): "cpu", "cuda", "cuda:1", "mps"; None takes an accelerator if there is one.
    max_tokens (int): longest window, in word pieces, as far as the encoder reaches.
    overlap (int): words that a window shares with the next.
    batch_size (int): windows at a time.
    spans_key (str): key of the span group.
    scorer (Callable | None): used by `score`.
    """

    def __init__(
        self,
        name: str = NAME,
        *,
        device: str | None = None,
        max_tokens: int = 512,
        overlap: int = 32,
        batch_size: int = 32,
        spans_key: str = NAME,
        scorer: Callable[..., dict[str, Any]] | None = None,
    ):
        for what, value in (("max_tokens", max_tokens), ("batch_size", batch_size)):
            if value < 1:
                raise UniversalNERError(Errors.U008.format(name=what, got=value))
        self.name = name
        self.device = device
        self.max_tokens = max_tokens
        self.overlap = overlap
        self.batch_size = batch_size
        self.spans_key = spans_key
        self.scorer = scorer
        self._tags: list[str] = [OUTSIDE]
        self._folder: Path | None = None
        self._loaded: tuple[Any, Pieces] | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The entity types it knows."""
        return tuple(dict.fromkeys(tag.partition("-")[2] for tag in self._tags if tag != OUTSIDE))

    @property
    def room(self) -> int:
        """Word pieces that a window has room for. RAISES (UniversalNERError): there is no model."""
        model, pieces = self._load()
        reach = getattr(model.config, "max_position_embeddings", None) or self.max_tokens
        if model.config.model_type in SHIFTED:
            reach -= 2
        return max(1, min(self.max_tokens, reach) - pieces.around)

    def use(self, model: Any, tokenizer: Any, tags: Sequence[str]) -> None:
        """Take a model.

        model (PreTrainedModel): with a layer of tags.
        tokenizer (PreTrainedTokenizerFast): its tokenizer.
        tags (Sequence[str]): what each of its outputs is: O, or B- or I- and a type.
        """
        self._check(tags, model, "the component")
        self._tags = list(tags)
        self._folder = None
        self._loaded = model.eval(), Pieces(tokenizer)

    def __getstate__(self) -> dict[str, Any]:
        """Another process loads a model that is on disk itself."""
        return {**self.__dict__, "_loaded": None} if self._folder else self.__dict__

    def __call__(self, doc: Doc) -> Doc:
        """Annotate one doc. RAISES (UniversalNERError): there is no model."""
        self._annotate([doc])
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Annotate a stream of docs, a batch at a time. A batch that fails goes to the pipeline's error handler."""
        for docs in minibatch(stream, size=batch_size):
            try:
                self._annotate(docs)
            except Exception as err:  # spaCy's contract: whatever it is, the handler decides
                self.get_error_handler()(self.name, self, docs, err)
            else:
                yield from docs

    def _annotate(self, docs: Sequence[Doc]) -> None:
        words = [[token for token in doc if not token.is_space] for doc in docs]
        chances = self.predict([[token.text for token in of_doc] for of_doc in words])
        for doc, of_doc, found in zip(docs, words, chances, strict=True):
            self._write(doc, of_doc, found)

    def predict(self, words: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """The probability of each tag for each word, (words, tags) for each text.

        RAISES (UniversalNERError): there is no model.
        """
        model, pieces = self._load()
        room = self.room
        cut = [pieces.cut(of_text, room) for of_text in words]
        windows = [cut_words([len(ids) for ids in of_text], room, self.overlap) for of_text in cut]
        framed = [
            (*pieces.frame(of_text[first:last]), number, part)
            for number, of_text in enumerate(cut)
            for part, (first, last) in enumerate(windows[number])
        ]
        chances: dict[tuple[int, int], np.ndarray] = {}
        framed.sort(key=lambda window: len(window[0]))
        for start in range(0, len(framed), self.batch_size):
            batch = framed[start : start + self.batch_size]
            rows = run(model, [ids for ids, *_ in batch], pad=pieces.tokenizer.pad_token_id or 0)
            for row, (_, starts, number, part) in zip(rows, batch, strict=True):
                chances[number, part] = row[starts]
        return [
            self._join([chances[number, part] for part in range(len(spans))], spans, len(words[number]))
            for number, spans in enumerate(windows)
        ]

    def _join(self, parts: Sequence[np.ndarray], windows: Sequence[tuple[int, int]], length: int) -> np.ndarray:
        whole = np.zeros((length, len(self._tags)), dtype="f")
        for i, number in enumerate(choose_windows(windows, length)):
            whole[i] = parts[number][i - windows[number][0]]
        return whole

    def _write(self, doc: Doc, words: Sequence[Token], chances: np.ndarray) -> None:
        best = chances.argmax(-1) if len(words) else []
        spans, scores = [], []
        for first, last, label in read_tags([self._tags[i] for i in best]):
            spans.append(doc[words[first].i : words[last - 1].i + 1])
            spans[-1].label_ = label
            scores.append(float(chances[np.arange(first, last), best[first:last]].prod()))
        doc.set_ents(spans)
        doc.spans[self.spans_key] = SpanGroup(doc, name=self.spans_key, spans=spans, attrs={"scores": scores})

    def score(self, examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
        """Score examples with the scorer."""
        return super().score(examples, **kwargs)

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Save tags and weights. RAISES (UniversalNERError): there is no model."""
        path = Path(path)
        target = path / MODEL
        if self._folder is None:
            model, pieces = self._load()
            target.mkdir(parents=True, exist_ok=True)
            model.save_pretrained(target)
            pieces.tokenizer.save_pretrained(target)
            write_manifest(target, {"tags": self._tags})
        elif self._folder.resolve() != target.resolve():
            check_manifest(self._folder, REQUIRED)
            shutil.copytree(self._folder, target, dirs_exist_ok=True)
        write_json(path / "cfg.json", {"tags": self._tags})

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> "TokenClassifier":
        """Take tags, and the weights when they are first needed."""
        path = Path(path)
        self._tags = list(read_json(path / "cfg.json")["tags"])
        self._folder, self._loaded = path / MODEL, None
        return self

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """Tags and weights as bytes. RAISES (UniversalNERError): there is no model."""
        with tempfile.TemporaryDirectory() as folder:
            self.to_disk(folder)
            files = {path.name: path.read_bytes() for path in sorted((Path(folder) / MODEL).iterdir())}
        return srsly.msgpack_dumps({"tags": self._tags, "files": files})

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> "TokenClassifier":
        """Take tags and weights. RAISES (UniversalNERError): names that are no plain names of files."""
        content: Mapping[str, Any] = srsly.msgpack_loads(data)
        if odd := [name for name in content["files"] if name in ("", ".", "..") or Path(name).name != name]:
            raise UniversalNERError(Errors.U185.format(names=", ".join(map(repr, odd))))
        with tempfile.TemporaryDirectory() as folder:
            for name, file in content["files"].items():
                (Path(folder) / name).write_bytes(file)
            self._tags = list(content["tags"])
            self._folder, self._loaded = Path(folder), None
            self._load()
        self._folder = None
        return self

    def _load(self) -> tuple[Any, Pieces]:
        if self._loaded is None:
            if self._folder is None:
                raise UniversalNERError(Errors.U245)
            check_manifest(self._folder, REQUIRED)
            model, tokenizer = open_classifier(self._folder, self.device)
            self._check(self._tags, model, self._folder)
            self._loaded = model, Pieces(tokenizer)
        return self._loaded

    def _check(self, tags: Sequence[str], model: Any, path: object) -> None:
        if len(tags) != model.config.num_labels:
            raise UniversalNERError(Errors.U248.format(got=len(tags), count=model.config.num_labels, path=path))


def open_classifier(folder: Path, device: str | None = None, **options: Any) -> tuple[Any, Any]:
    """The encoder of a folder with a layer of tags, and its tokenizer.

    options (Any): more arguments for `from_pretrained`.
    """
    from transformers import AutoModelForTokenClassification

    from ..hardware import pick_device

    model = AutoModelForTokenClassification.from_pretrained(
        folder, use_safetensors=True, trust_remote_code=False, **options
    )
    return model.to(pick_device(device)).eval(), open_tokenizer(folder)


def open_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder, which words are handed to one by one."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, trust_remote_code=False, add_prefix_space=True)


def run(model: Any, rows: Sequence[Sequence[int]], *, pad: int) -> list[np.ndarray]:
    """The probabilities of the tags at each token of some rows of ids."""
    import torch

    width = max(map(len, rows))
    ids = torch.full((len(rows), width), pad)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    with torch.inference_mode():
        logits = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device)).logits
    return list(logits.float().softmax(-1).cpu().numpy())
