"""The benchmark's data sets as data: where their splits stand, how their columns lie, what their tags mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import Errors, UniversalNERError

TOKEN_TAG = {"token": 0, "tag": 1, "count": 2, "separator": "\t"}
TAG_TOKEN = {"token": 1, "tag": 0, "count": 2, "separator": "\t"}
SPACED = {"token": 0, "tag": 1, "count": 2, "separator": " "}
CONLL = {"token": 0, "tag": 3, "count": 4, "separator": "\t"}
SPACED_CONLL = {"token": 0, "tag": 3, "count": 4, "separator": " "}


@dataclass(frozen=True)
class DataSet:
    """Sentences with gold entities, to be measured on or to be learnt from.

    name (str): short name, unique in the registry.
    format (str): the name of a reader (see `formats.READERS`).
    options (Mapping): the reader's options.
    files (Mapping): the files of each split (train, dev, test), relative to the benchmark folder.
    labels (Mapping): the natural words asked for each tag; None for a tag that is left out.
    zero_shot (bool): one of the seven sets of the paper's zero-shot table (universalner.md, section 6).
    license (str): the licence, as its publishers state it.
    sentences (Mapping): the paper's count of sentences in each split.
    split_sentences (bool): its texts are documents, to be cut into sentences.
    note (str): known differences.
    """

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

    @property
    def types(self) -> tuple[str, ...]:
        """The types asked of every sentence, each once, in registry order."""
        return tuple(dict.fromkeys(label for label in self.labels.values() if label))


MOVIE = {
    "ACTOR": "actor",
    "CHARACTER": "character",
    "DIRECTOR": "director",
    "GENRE": "genre",
    "PLOT": "plot",
    "RATING": "rating",
    "RATINGS_AVERAGE": "average ratings",
    "REVIEW": "review",
    "SONG": "song",
    "TITLE": "title",
    "TRAILER": "trailer",
    "YEAR": "year",
}
RESTAURANT = {
    "Amenity": "Amenity",
    "Cuisine": "Cuisine",
    "Dish": "Dish",
    "Hours": "Hours",
    "Location": "Location",
    "Price": "Price",
    "Rating": "Rating",
    "Restaurant_Name": "Restaurant Name",
}
AI = {
    "algorithm": "algorithm",
    "conference": "conference",
    "country": "country",
    "field": "field",
    "location": "location",
    "metrics": "metrics",
    "organisation": "organization",
    "person": "person",
    "product": "product",
    "programlang": "program language",
    "researcher": "researcher",
    "task": "task",
    "university": "university",
    "misc": None,
}
LITERATURE = {
    "award": "award",
    "book": "book",
    "country": "country",
    "event": "event",
    "literarygenre": "literary genre",
    "location": "location",
    "magazine": "magazine",
    "organisation": "organization",
    "person": "person",
    "poem": "poem",
    "writer": "writer",
    "misc": None,
}
MUSIC = {
    "album": "album",
    "award": "award",
    "band": "band",
    "country": "country",
    "event": "event",
    "location": "location",
    "musicalartist": "musical artist",
    "musicalinstrument": "musical instrument",
    "musicgenre": "music genre",
    "organisation": "organization",
    "person": "person",
    "song": "song",
    "misc": None,
}
POLITICS = {
    "country": "country",
    "election": "election",
    "event": "event",
    "location": "location",
    "organisation": "organization",
    "person": "person",
    "politicalparty": "political party",
    "politician": "politician",
    "misc": None,
}
SCIENCE = {
    "academicjournal": "academic journal",
    "astronomicalobject": "astronomical object",
    "award": "award",
    "chemicalcompound": "chemical compound",
    "chemicalelement": "chemical element",
    "country": "country",
    "discipline": "discipline",
    "enzyme": "enzyme",
    "event": "event",
    "location": "location",
    "organisation": "organization",
    "person": "person",
    "protein": "protein",
    "scientist": "scientist",
    "theory": "theory",
    "university": "university",
    "misc": None,
}
TWEETS = {"PER": "person", "ORG": "organization", "LOC": "location"}
MOLECULES = {"protein": "protein", "DNA": "DNA", "RNA": "RNA", "cell_type": "cell type", "cell_line": "cell line"}
# The paper asks for four types: the two that hold what fits nowhere else are left out, as it does with ELSE.
PAPERS = {
    "Task": "task",
    "Method": "method",
    "Metric": "metric",
    "Material": "material",
    "OtherScientificTerm": None,
    "Generic": None,
}
PLACES = {"POINT": "point", "AREA": "area", "ROAD": "road", "RIVER": "river"}

ATTRIBUTION = "the corpus's own, redistributed with attribution"
UNSTATED = "none stated"

RECIPES = {
    "FOOD": "food",
    "QUANTITY": "quantity",
    "UNIT": "unit",
    "PROCESS": "process",
    "PHYSICAL_QUALITY": "physical quality",
    "COLOR": "color",
    "TASTE": "taste",
    "PURPOSE": "purpose",
    "PART": "part",
}
SPLITS = ("train", "dev", "test")
FOOD = {
    "text": "ingredients",
    "spans": "ingredients_entities",
    "label": "type",
    "surface": "entity",
}


def _columns(
    name: str, options: Mapping[str, Any], files: Sequence[str], labels: Mapping[str, str | None], **more: Any
) -> DataSet:
    """A set of column files: train, dev and test, "" for a split that is not there."""
    splits = {split: tuple(file.split()) for split, file in zip(SPLITS, files, strict=True) if file}
    return DataSet(name, "columns", options, splits, labels, **more)


def _paper(train: int, dev: int, test: int) -> dict[str, int]:
    return {"train": train, "dev": dev, "test": test}


def _crossner(name: str, labels: Mapping[str, str | None], *sentences: int) -> DataSet:
    files = [f"crossner/{name}/{split}.txt" for split in SPLITS]
    return _columns(name, TOKEN_TAG, files, labels, zero_shot=True, sentences=_paper(*sentences))


def _biomed(name: str, labels: Mapping[str, str | None], *sentences: int) -> DataSet:
    files = [f"{name}/{split}.tsv" for split in ("train", "devel", "test")]
    return _columns(name, TOKEN_TAG, files, labels, license=ATTRIBUTION, sentences=_paper(*sentences))


MOVIES = ("mit-movie/train.txt", "", "mit-movie/test.txt")
RESTAURANTS = ("mit-restaurant/train.txt", "", "mit-restaurant/test.txt")
BTC = ("btc/a.conll btc/b.conll btc/e.conll btc/g.conll", "btc/h.conll", "btc/f.conll")
HARVEY = ("harveyner/tweets.train.bio", "harveyner/tweets.dev.bio", "harveyner/tweets.test.bio")
DATASETS: dict[str, DataSet] = {
    dataset.name: dataset
    for dataset in (
        _columns("movie", TAG_TOKEN, MOVIES, MOVIE, zero_shot=True, sentences=_paper(9774, 2442, 2442)),
        _columns("restaurant", TAG_TOKEN, RESTAURANTS, RESTAURANT, zero_shot=True, sentences=_paper(7659, 1520, 1520)),
        _crossner("ai", AI, 100, 350, 431),
        _crossner("literature", LITERATURE, 100, 400, 416),
        _crossner("music", MUSIC, 100, 380, 465),
        _crossner("politics", POLITICS, 199, 540, 650),
        _crossner("science", SCIENCE, 200, 450, 543),
        _columns("btc", TOKEN_TAG, BTC, TWEETS, license="cc-by-4.0", sentences=_paper(5334, 2001, 2000)),
        _biomed("bc5cdr", {"Chemical": "chemical", "Disease": "disease"}, 4560, 4581, 4797),
        _biomed("ncbi", {"Disease": "disease"}, 5432, 923, 940),
        _biomed("anatem", {"Anatomy": "anatomy"}, 5861, 2118, 3830),
        _biomed("bc2gm", {"GENE": "gene"}, 12500, 2500, 5000),
        _columns(
            "jnlpba", CONLL, ("", "jnlpba/dev.txt", "jnlpba/test.txt"), MOLECULES, sentences=_paper(18608, 1940, 4261)
        ),
        _columns(
            "scierc",
            SPACED_CONLL,
            [f"scierc/{split}.txt" for split in SPLITS],
            PAPERS,
            license=UNSTATED,
            sentences=_paper(350, 50, 100),
        ),
        _columns("harveyner", SPACED, HARVEY, PLACES, license=UNSTATED, sentences=_paper(3967, 1301, 1303)),
        DataSet(
            "tasteset",
            "csv",
            FOOD,
            {
                "train": ("tasteset/TASTEset.csv[:80%]",),
                "dev": ("tasteset/TASTEset.csv[80%:90%]",),
                "test": ("tasteset/TASTEset.csv[90%:]",),
            },
            RECIPES,
            license="mit",
            sentences=_paper(556, 69, 71),
        ),
    )
}


def zero_shot_sets() -> list[DataSet]:
    """The seven sets of the paper's zero-shot table, in its order."""
    return [dataset for dataset in DATASETS.values() if dataset.zero_shot]


def train_sets(names: Sequence[str]) -> list[DataSet]:
    """The sets of these names, to be trained on.

    RAISES (UniversalNERError): names that are unknown, or of sets that are never trained on, all at once.
    """
    problems = []
    for name in names:
        if name not in DATASETS:
            problems.append(f"  {name}: unknown")
        elif DATASETS[name].zero_shot:
            problems.append(f"  {name}: one of the zero-shot sets, which are measured on and never trained on")
        elif "train" not in DATASETS[name].files:
            problems.append(f"  {name}: its train split is not published in this form")
    if problems:
        known = ", ".join(
            name for name, dataset in DATASETS.items() if "train" in dataset.files and not dataset.zero_shot
        )
        raise UniversalNERError(Errors.U155.format(problems="\n".join(problems), known=known))
    return [DATASETS[name] for name in names]
