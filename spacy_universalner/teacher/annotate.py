"""Asking a teacher about passages."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import tee
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.util import minibatch
from spacy_llm.util import assemble_from_config

from ..errors import Errors, UniversalNERError
from ..records import Passage, Reply
from ..schemas import read_config
from .batch import BatchRun, check_no_open_jobs
from .chat import ChatModel
from .completion import RENEWABLE, as_completion
from .money import Estimate, estimate
from .task import TASK, OpenNERTask


@dataclass(frozen=True)
class Unanswered:
    """A passage without a reply: its teacher failed, or was not asked.

    passage_id (str): the passage.
    kind (str): "failed" or "not asked".
    error (str): why.
    """

    passage_id: str
    kind: str
    error: str


@dataclass(frozen=True)
class Teacher:
    """The two halves of a pipeline's `llm` component.

    nlp (Language): the pipeline, for its tokenizer.
    task (OpenNERTask): writes the messages.
    model (Callable): answers them; a ChatModel or any other model of spacy-llm.
    """

    nlp: Language
    task: OpenNERTask
    model: Any

    def messages(self, passages: Iterable[Passage]) -> Iterator[Any]:
        """The chat messages of each passage."""
        return iter(self.task.generate_prompts(self.nlp.make_doc(passage.text) for passage in passages))

    def chat(self, option: str) -> ChatModel:
        """The model, for what only a chat model can do. RAISES (UniversalNERError): it is another one."""
        if not isinstance(self.model, ChatModel):
            raise UniversalNERError(Errors.U131.format(model=type(self.model).__name__, option=option))
        return self.model


def load_teacher(config: Path) -> Language:
    """Build a teacher's pipeline.

    config (Path): an ordinary spaCy config, as configs/teacher.cfg.
    RAISES (UniversalNERError): no such file, or spaCy cannot build what it describes.
    """
    described = read_config(config)
    try:
        return assemble_from_config(described)
    except UniversalNERError:
        raise
    except ValueError as err:
        raise UniversalNERError(Errors.U011.format(path=config, reason=err)) from err


def get_teacher(nlp: Language) -> Teacher:
    """Take the task and the model out of a pipeline. RAISES (UniversalNERError): it has no component with our task."""
    for _, pipe in nlp.pipeline:
        if isinstance(getattr(pipe, "task", None), OpenNERTask):
            return Teacher(nlp, pipe.task, pipe._model)
    raise UniversalNERError(Errors.U033.format(pipes=nlp.pipe_names, task=TASK))


def annotate(teacher: Teacher, passages: Iterable[Passage]) -> Iterator[Reply | Unanswered]:
    """Ask a teacher about each passage.

    The model is asked directly, not through `nlp.pipe`, which would wait for the slowest reply of every batch. One that
    does not stream is handed as many passages at once as the pipeline's own `batch_size`.

    teacher (Teacher): of a pipeline as in configs/teacher.cfg.
    passages (Iterable[Passage]): streamed.
    YIELDS (Reply | Unanswered): one a passage, in order, as replies arrive.
    """
    asked, kept = tee(passages)
    prompts = ([messages] for messages in teacher.messages(asked))
    streams = getattr(teacher.model, "streams", False)
    batches = [prompts] if streams else minibatch(prompts, teacher.nlp.batch_size)
    responses = (response for batch in batches for response in teacher.model(batch))
    for passage, response in zip(kept, responses, strict=True):
        completion = as_completion(response[0])
        if completion.given:
            yield Reply(passage_id=passage.id, text=passage.text, **teacher.task.describe(completion))
        else:
            yield Unanswered(passage.id, completion.kind, completion.error)


def estimate_cost(teacher: Teacher, passages: Iterable[Passage]) -> Estimate:
    """What a chat model will cost for passages, without sending or writing anything. What its store holds is free.

    RAISES (UniversalNERError): the model is another one, or its store is being written.
    """
    model = teacher.chat("--estimate")
    store = model.open() if model.path and model.path.exists() else None
    settings = model.settings
    known = (
        row
        for row in (store.rows() if store else ())
        if (row["model"], row["params"]) == (settings.name, settings.params) and teacher.task.wrote(row["messages"])
    )
    (blank,) = teacher.messages([Passage("", " ")])
    return estimate(
        ((messages, model.has(settings.key(messages))) for messages in teacher.messages(passages)),
        frame=sum(len(message["content"]) for message in blank) - 1,
        known=known,
        price=settings.price,
        longest=settings.longest,
    )


class Annotation:
    """One run of a teacher over passages. A context manager: on leaving, another process may have the store.

    teacher (Teacher): whom to ask.
    again (str): kinds of reply in the store that are asked again, separated by commas.
    RAISES (UniversalNERError): an unknown kind, or kinds for a teacher without a store.
    """

    def __init__(self, teacher: Teacher, *, again: str = "") -> None:
        self.teacher = teacher
        self.counts: Counter[str] = Counter()
        self._chat = teacher.model if isinstance(teacher.model, ChatModel) else None
        if again:
            self._chat = teacher.chat("--again")
            if self._chat.path is None:
                raise UniversalNERError(Errors.U131.format(model=self._chat.settings.name, option="--again"))
            self._chat.again = read_kinds(again)

    def __enter__(self) -> "Annotation":
        if self._chat:
            self._chat.open()
        return self

    def __exit__(self, *exc: Any) -> None:
        if self._chat:
            self._chat.close()
            self._chat.asking, self._chat.again = True, frozenset()

    def ask_by_batch(self, passages: Iterable[Passage], advance: Callable[[int], object]) -> None:
        """Fill the store by batch jobs; what they leave open is not asked otherwise."""
        BatchRun(self.teacher.chat("--batch")).run(self.teacher.messages(passages), advance)
        self._chat.asking, self._chat.again = False, frozenset()

    def replies(
        self,
        passages: Iterable[Passage],
        advance: Callable[[int], object] = lambda count: None,
        set_aside: Callable[[dict[str, Any]], object] = lambda row: None,
    ) -> Iterator[Reply]:
        """The replies, in order.

        passages (Iterable[Passage]): streamed.
        advance (Callable): told of each passage, unless it was told of the batch jobs' replies before.
        set_aside (Callable): given a row for each passage without a reply, see Unanswered.
        YIELDS (Reply): as they arrive.
        RAISES (UniversalNERError): batch jobs are out that may answer some of them.
        """
        told = self._chat is not None and not self._chat.asking
        if self._chat and self._chat.path and not told:
            check_no_open_jobs(self._chat.path)
        for result in annotate(self.teacher, passages):
            if isinstance(result, Reply):
                self.counts["replies"] += 1
                yield result
            else:
                self.counts[result.kind] += 1
                set_aside(asdict(result))
            if not told:
                advance(1)

    def note(self) -> str:
        """The cost so far, for a progress bar."""
        if self._chat is None or self._chat.settings.price is None:
            return ""
        budget = f" of ${self._chat.settings.budget:g}" if self._chat.settings.budget else ""
        return f"${self._chat.total.spent:.2f}{budget}"

    def ledger(self) -> dict[str, Any]:
        """What was asked and paid, in this run and in all runs on the store."""
        if self._chat is None:
            return {"passages": dict(self.counts)}
        settings = self._chat.settings
        return {
            "passages": dict(self.counts),
            "model": settings.name,
            "budget": settings.budget,
            "price": asdict(settings.price) if settings.price else None,
            "this_run": self._chat.ledger.to_json(),
            "store": self._chat.total.to_json(),
        }

    @property
    def facts(self) -> dict[str, Any]:
        """What is worth reporting."""
        cost = {"cost": round(self._chat.ledger.cost, 4)} if self._chat else {}
        return {"replies": self.counts["replies"], "unanswered": self.unanswered, **cost}

    @property
    def unanswered(self) -> int:
        """How many passages have no reply."""
        return self.counts.total() - self.counts["replies"]


def read_kinds(names: str) -> frozenset[str]:
    """Kinds of reply from a list with commas. RAISES (UniversalNERError): there is no such kind."""
    kinds = frozenset(name.strip() for name in names.split(","))
    for kind in sorted(kinds - set(RENEWABLE)):
        raise UniversalNERError(Errors.U132.format(kind=kind, known=", ".join(RENEWABLE)))
    return kinds
