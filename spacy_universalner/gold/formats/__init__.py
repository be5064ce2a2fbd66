"""The formats that data sets are published in, and a reader of each."""

from collections.abc import Callable, Iterator

from .bioc import read_bioc, read_pubtator
from .columns import read_columns, read_conllu
from .markup import read_xml
from .sentence import Sentence, SetAside
from .slices import Slice, split_slice
from .spans import read_span_rows
from .standoff import read_brat, read_pipes
from .tables import read_token_rows
from .tokens import read_concepts, read_ebmnlp, read_sofc

Reader = Callable[..., Iterator[Sentence]]
"""Takes a path, a counter of what it sets aside, and its format's options by name."""

READERS: dict[str, Reader] = {
    "columns": read_columns,
    "conllu": read_conllu,
    "token-json": read_token_rows,
    "span-json": read_span_rows,
    "csv": read_span_rows,
    "brat": read_brat,
    "xml": read_xml,
    "bioc": read_bioc,
    "pubtator": read_pubtator,
    "i2b2-concepts": read_concepts,
    "pipes": read_pipes,
    "ebmnlp": read_ebmnlp,
    "sofc": read_sofc,
}

__all__ = ["READERS", "Reader", "Sentence", "SetAside", "Slice", "split_slice"]
