"""The benchmark's data sets as data: where their splits stand, how their columns lie, what their tags mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import Errors, UniversalNERError


@dataclass(frozen=True)
class Columns:
    """A file with a token and its BIO or IOB tag on a line, and a blank line after each sentence.

    name (str): what to call the format in messages.
    token (int): the token's column, counted from 0.
    tag (int): the tag's column.
    count (int): how many columns a line has.
    separator (str): what stands between two columns; None for any white space.
    """

    name: str
    token: int
    tag: int
    count: int = 2
    separator: str | None = "\t"


TOKEN_TAG = Columns("token<TAB>tag", token=0, tag=1)
TAG_TOKEN = Columns("tag<TAB>token", token=1, tag=0)
SPACED = Columns("token tag", token=0, tag=1, separator=" ")
CONLL = Columns("token<TAB>part of speech<TAB>chunk<TAB>tag", token=0, tag=3, count=4)
SPACED_CONLL = Columns("token part-of-speech chunk tag", token=0, tag=3, count=4, separator=" ")


@dataclass(frozen=True)
class DataSet:
    """Sentences with gold entities, to be measured on or to be learnt from.

    name (str): short name, unique in the registry.
    file (str): its test split, relative to the benchmark folder.
    format (Columns): how its files are laid out.
    labels (Mapping): the natural words asked for each tag; None for a tag that is left out.
    zero_shot (bool): one of the seven sets of the paper's zero-shot table (universalner.md, section 6).
    train (tuple): the files of its train split; none for a set that is never trained on.
    license (str): the licence of its train split, as its publishers state it.
    """

    name: str
    file: str
    format: Columns
    labels: Mapping[str, str | None]
    zero_shot: bool = False
    train: tuple[str, ...] = ()
    license: str = ""

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

DATASETS: dict[str, DataSet] = {
    dataset.name: dataset
    for dataset in (
        DataSet("movie", "mit-movie/test.txt", TAG_TOKEN, MOVIE, zero_shot=True),
        DataSet("restaurant", "mit-restaurant/test.txt", TAG_TOKEN, RESTAURANT, zero_shot=True),
        DataSet("ai", "crossner/ai/test.txt", TOKEN_TAG, AI, zero_shot=True),
        DataSet("literature", "crossner/literature/test.txt", TOKEN_TAG, LITERATURE, zero_shot=True),
        DataSet("music", "crossner/music/test.txt", TOKEN_TAG, MUSIC, zero_shot=True),
        DataSet("politics", "crossner/politics/test.txt", TOKEN_TAG, POLITICS, zero_shot=True),
        DataSet("science", "crossner/science/test.txt", TOKEN_TAG, SCIENCE, zero_shot=True),
        DataSet(
            "btc",
            "btc/f.conll",
            TOKEN_TAG,
            TWEETS,
            train=("btc/a.conll", "btc/b.conll", "btc/e.conll", "btc/g.conll"),
            license="cc-by-4.0",
        ),
        DataSet(
            "bc5cdr",
            "bc5cdr/test.tsv",
            TOKEN_TAG,
            {"Chemical": "chemical", "Disease": "disease"},
            train=("bc5cdr/train.tsv",),
            license=ATTRIBUTION,
        ),
        DataSet(
            "ncbi",
            "ncbi/test.tsv",
            TOKEN_TAG,
            {"Disease": "disease"},
            train=("ncbi/train.tsv",),
            license=ATTRIBUTION,
        ),
        DataSet(
            "anatem",
            "anatem/test.tsv",
            TOKEN_TAG,
            {"Anatomy": "anatomy"},
            train=("anatem/train.tsv",),
            license=ATTRIBUTION,
        ),
        DataSet(
            "bc2gm",
            "bc2gm/test.tsv",
            TOKEN_TAG,
            {"GENE": "gene"},
            train=("bc2gm/train.tsv",),
            license=ATTRIBUTION,
        ),
        DataSet("jnlpba", "jnlpba/test.txt", CONLL, MOLECULES),
        DataSet(
            "scierc",
            "scierc/test.txt",
            SPACED_CONLL,
            PAPERS,
            train=("scierc/train.txt",),
            license=UNSTATED,
        ),
        DataSet(
            "harveyner",
            "harveyner/tweets.test.bio",
            SPACED,
            PLACES,
            train=("harveyner/tweets.train.bio",),
            license=UNSTATED,
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
        elif not DATASETS[name].train:
            problems.append(f"  {name}: its train split is not published in this form")
    if problems:
        known = ", ".join(name for name, dataset in DATASETS.items() if dataset.train)
        raise UniversalNERError(Errors.U155.format(problems="\n".join(problems), known=known))
    return [DATASETS[name] for name in names]
