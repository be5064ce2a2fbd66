"""The benchmark's data sets as data (benchmark.yml): where they are from, how their files lie, what their tags mean."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import srsly
from pydantic import ConfigDict, TypeAdapter, ValidationError

from ..errors import Errors, UniversalNERError

REGISTRY = Path(__file__).parent / "benchmark.yml"
SPLITS = ("train", "dev", "test")
ZERO_SHOT = ("movie", "restaurant", "ai", "literature", "music", "politics", "science")
"""The seven sets of the paper's zero-shot table, in its order."""
COMMIT_LENGTH = 40

Domain = Literal[
    "General", "Biomed", "Clinics", "STEM", "Programming", "Social media", "Law", "Finance", "Transportation"
]
DOMAINS: tuple[str, ...] = get_args(Domain)
Kind = Literal["download", "hub", "hand"]
Redistribute = Literal["yes", "share-alike", "non-commercial", "no", "unclear"]

# Options of the reader of columns, for sets that are not in the registry.
TOKEN_TAG = {"token": 0, "tag": 1, "count": 2, "separator": "\t"}


@dataclass(frozen=True)
class Download:
    """A file at an address.

    url (str): the address.
    sha256 (str | None): of the file; None where it could not be learnt when the registry was written.
    path (str): where it goes in the benchmark folder.
    unpack (Mapping): of an archive instead: what goes where, as a file or folder of the benchmark folder by the name
        it has in the archive.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")
    url: str
    sha256: str | None
    path: str = ""
    unpack: Mapping[str, str] = field(default_factory=dict)

    @property
    def targets(self) -> tuple[str, ...]:
        """The files and folders it gives."""
        return tuple(self.unpack) or (self.path,)


@dataclass(frozen=True)
class Source:
    """How a data set is got.

    kind (str): "download" from addresses, from the "hub", or by "hand".
    page (str): where its publishers describe it.
    files (tuple): its downloads.
    id, config, revision (str): its repository on the hub, the part of it, and a commit or branch; None for the default.
    splits (Mapping): the hub's splits that each of ours is made of.
    unroll (tuple): the columns of a set whose rows are documents, each a list with an item a sentence.
    steps (tuple): what to do by hand.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")
    kind: Kind
    page: str
    files: tuple[Download, ...] = ()
    id: str = ""
    config: str | None = None
    revision: str | None = None
    splits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unroll: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()

    @property
    def verified(self) -> bool:
        """Whether what is got can only be what the registry means: sums are known, or a commit of the hub."""
        if self.kind == "hub":
            return len(self.revision or "") == COMMIT_LENGTH
        return self.kind == "download" and all(file.sha256 for file in self.files)


@dataclass(frozen=True)
class DataSet:
    """Sentences with gold entities, to be measured on or to be learnt from.

    name (str): short name, unique in the registry.
    format (str): the name of the reader of its files.
    options (Mapping): the reader's options.
    files (Mapping): the files or folders of each split (train, dev, test), relative to the benchmark folder. A file
        that holds several splits is named with a slice: `all.csv[:80%]`.
    labels (Mapping): the natural words asked for each tag; None for a tag that is left out.
    zero_shot (bool): one of the seven sets of the paper's zero-shot table (universalner.md, section 6).
    license (str): its licence, as its publishers state it.
    sentences (Mapping): the paper's number of sentences in each split.
    split_sentences (bool): what is read are documents, to be cut into sentences.
    note (str): known differences from the paper, and what is not sure.
    shuffle (int | None): the seed that the sentences of a file are shuffled with before it is sliced; None for not.
    family (str): which of the 43 data sets it is a variant of.
    title (str): what the paper's Table 6 calls it.
    domain (str): the field it belongs to, as in the paper's Figure 5.
    source (Source): how it is got; None for a set that is not in the registry.
    redistribute (str): whether it may be handed on.
    paper (Mapping): the paper's F1 of "chatgpt" and "uniner" zero-shot, and of the "supervised" model.
    paper_types (int): the paper's number of types.
    in_domain (bool): one of the 20 sets of the paper's in-domain table.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")
    name: str
    format: str
    options: Mapping[str, Any]
    files: Mapping[str, tuple[str, ...]]
    labels: Mapping[str, str | None]
    zero_shot: bool = False
    license: str = ""
    sentences: Mapping[str, int] = field(default_factory=dict)
    split_sentences: bool = False
    note: str = ""
    shuffle: int | None = None
    family: str = ""
    title: str = ""
    domain: Domain = "General"
    source: Source | None = None
    redistribute: Redistribute = "unclear"
    paper: Mapping[str, float] = field(default_factory=dict)
    paper_types: int = 0
    in_domain: bool = False

    @property
    def types(self) -> tuple[str, ...]:
        """The types asked of every sentence, each once, in registry order."""
        return tuple(dict.fromkeys(label for label in self.labels.values() if label))

    @property
    def paths(self) -> tuple[str, ...]:
        """All its files and folders, each once, without slices."""
        return tuple(dict.fromkeys(file.partition("[")[0] for split in self.files.values() for file in split))

    def hub_file(self, split: str) -> str:
        """The file that a split of the hub is written to."""
        return self.files[split][0].partition("[")[0]

    @property
    def train(self) -> tuple[str, ...]:
        """What a student may learn from: nothing of the zero-shot sets."""
        return () if self.zero_shot else self.files.get("train", ())


KNOWN = {field.name for field in fields(DataSet)} - {"name"}
OPTIONAL = {"zero_shot", "in_domain", "split_sentences", "shuffle", "note"}
PAPER = ("chatgpt", "uniner", "supervised")
SOURCE_KEYS = {"download": {"files"}, "hub": {"id", "config", "revision", "splits", "unroll"}, "hand": {"steps"}}


def read_registry(path: Path = REGISTRY) -> dict[str, DataSet]:
    """Read a registry of data sets.

    path (Path): a YAML file with a row a set, under its name.
    RETURNS (dict): the sets by name, in its order.
    RAISES (UniversalNERError): all that is wrong with it at once.
    """
    try:
        rows = srsly.read_yaml(path)
    except ValueError as err:
        raise UniversalNERError(Errors.U210.format(path=path, problems=f"  no YAML: {err}")) from err
    if not isinstance(rows, dict) or not rows:
        got = type(rows).__name__
        raise UniversalNERError(Errors.U210.format(path=path, problems=f"  expected rows under their names, got {got}"))
    adapter = TypeAdapter(DataSet)
    found: dict[str, DataSet] = {}
    problems: list[str] = []
    for name, row in rows.items():
        dataset, wrong = _read_row(str(name), row, adapter)
        problems += [f"  {name}: {problem}" for problem in wrong]
        if dataset:
            found[dataset.name] = dataset
    if problems:
        raise UniversalNERError(Errors.U210.format(path=path, problems="\n".join(problems)))
    return found


@cache
def load_registry() -> dict[str, DataSet]:
    """The benchmark's sets by name, in the order of the paper's Table 6; read once."""
    return read_registry()


def __getattr__(name: str) -> Any:
    """DATASETS is read when it is first asked for."""
    if name == "DATASETS":
        return load_registry()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def find_sets(names: Iterable[str]) -> list[DataSet]:
    """The sets of these names. RAISES (UniversalNERError): names that are unknown, all at once."""
    datasets, names = load_registry(), list(names)
    if unknown := [name for name in names if name not in datasets]:
        raise UniversalNERError(Errors.U218.format(unknown=", ".join(unknown), known=", ".join(datasets)))
    return [datasets[name] for name in names]


def choose_sets(names: str) -> list[DataSet]:
    """The sets of these names, with commas between; all of the benchmark if there are none.

    RAISES (UniversalNERError): as `find_sets`.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    return find_sets(wanted or load_registry())


def zero_shot_sets() -> list[DataSet]:
    """The seven sets of the paper's zero-shot table, in its order."""
    return find_sets(ZERO_SHOT)


def train_sets(names: Sequence[str]) -> list[DataSet]:
    """The sets of these names, to be trained on.

    RAISES (UniversalNERError): names that are unknown, or of sets that are never trained on, all at once.
    """
    datasets = load_registry()
    problems = []
    for name in names:
        if name not in datasets:
            problems.append(f"  {name}: unknown")
        elif datasets[name].zero_shot:
            problems.append(f"  {name}: one of the zero-shot sets, which are measured on and never trained on")
        elif not datasets[name].train:
            problems.append(f"  {name}: its train split is not published in this form")
    if problems:
        known = ", ".join(name for name, dataset in datasets.items() if dataset.train)
        raise UniversalNERError(Errors.U155.format(problems="\n".join(problems), known=known))
    return [datasets[name] for name in names]


def _read_row(name: str, row: Any, adapter: TypeAdapter[DataSet]) -> tuple[DataSet | None, list[str]]:
    """A row as a data set, and what is wrong with it."""
    if not isinstance(row, dict):
        return None, [f"expected keys, got {type(row).__name__}"]
    problems = [f"{key}: missing" for key in sorted(KNOWN - OPTIONAL - set(row))]
    try:
        dataset = adapter.validate_python({"name": name, **row})
    except ValidationError as err:
        # Missing ones are told above: those with a default would not be told here.
        told = [error for error in err.errors() if error["type"] != "missing" or len(error["loc"]) > 1]
        return None, problems + [f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in told]
    return dataset, problems or list(_check(dataset))


def _check(dataset: DataSet) -> Iterator[str]:
    """What is wrong with a row whose keys and values are of the right kinds."""
    if not dataset.types:
        yield "labels: no tag has words, so that nothing would be asked"
    if blank := [tag for tag, words in dataset.labels.items() if words is not None and not words.strip()]:
        yield f"labels: empty words for {', '.join(blank)}, expected words, or null to leave a tag out"
    for key, known in (("files", SPLITS), ("sentences", SPLITS), ("paper", PAPER)):
        if unknown := set(getattr(dataset, key)) - set(known):
            yield f"{key}: unknown {', '.join(sorted(unknown))}, expected {', '.join(known)}"
        if key != "files" and (lacking := [name for name in known if name not in getattr(dataset, key)]):
            yield f"{key}: missing {', '.join(lacking)}"
    if not dataset.files.get("test"):
        yield "files: no test split"
    yield from _check_source(dataset)


def _check_source(dataset: DataSet) -> Iterator[str]:
    source = dataset.source
    if source is None:
        yield f"source: expected how the set is got, one of {', '.join(SOURCE_KEYS)}, got nothing"
        return
    given = {key for keys in SOURCE_KEYS.values() for key in keys if getattr(source, key)}
    needed = SOURCE_KEYS[source.kind] - {"config", "revision", "unroll"}
    if lacking := needed - given:
        yield f"source: missing {', '.join(sorted(lacking))}, which a source of kind {source.kind} needs"
    if foreign := given - SOURCE_KEYS[source.kind]:
        yield f"source: {', '.join(sorted(foreign))} does not go with kind {source.kind}"
    if wrong := [file.url for file in source.files if bool(file.path) == bool(file.unpack)]:
        yield f"source: {', '.join(wrong)} needs a path, or what to unpack, and not both"
    gives = [path for file in source.files for path in file.targets]
    gives += [dataset.hub_file(split) for split in source.splits if split in dataset.files]
    lacking = [path for path in dataset.paths if not any(_holds(given, path) for given in gives)]
    if source.kind != "hand" and lacking:
        yield f"source: nothing gives {', '.join(lacking)}"


def _holds(given: str, path: str) -> bool:
    """Whether a file or folder that is got is this one, or holds it."""
    return path == given or path.startswith(f"{given}/")
