"""Small files in the formats of published data sets, and sets of them."""

from dataclasses import replace

from spacy_universalner.gold.datasets import DATASETS
from spacy_universalner.gold.formats import READERS, SetAside

COLUMNS = {"token": 0, "tag": 1, "count": 2, "separator": "\t"}
LABELS = {"per": "person", "sci": "person", "prog": "program language", "misc": None}


def write(folder, files):
    """Write files by name; RETURNS (Path): their folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf8"))
    return folder


def read(name, path, **options):
    """Read a path in a format. RETURNS (tuple): each text with what its entities mark, and what was set aside."""
    set_aside = SetAside()
    sentences = list(READERS[name](path, set_aside, **options))
    return [(s.text, [(s.text[a:b], tag) for a, b, tag in s.spans]) for s in sentences], dict(+set_aside)


def make_set(files, *, name="toy", format="columns", options=COLUMNS, labels=LABELS, cut=False, **changes):
    """A data set of these files of each split."""
    about = {"name": name, "format": format, "options": options, "labels": labels, "split_sentences": cut}
    return replace(DATASETS["btc"], files=files, **about, **changes)
