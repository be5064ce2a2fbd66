"""Serving scale: a student run with vLLM inside this process, on its GPUs or on its CPU."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..answering import LIKELIER, check_begin
from ..asking import Asker, Question
from ..base import find_base
from ..choices import context_of
from ..encoding import Encoder
from ..errors import Errors, UniversalNERError
from ..prompts import load_template
from ..records import read_json
from ..registry import Answer
from ..student import ADAPTER_CONFIG, check_manifest, find_student, is_adapter
from ..whole import save_whole

LOGPROBS = 20
"""Probabilities asked for at each token: those of all that close a mention are among them, but for what is unlikely."""
CPU_BLOCK = 32
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Sizes of adapters that vLLM makes room for."""


class VLLMEngine:
    """See make_vllm_engine for the arguments. The model is loaded at first use."""

    def __init__(
        self,
        *,
        model: str | None,
        dtype: str,
        tensor_parallel_size: int,
        gpu_memory_utilization: float,
        max_model_len: int | None,
        block_size: int | None,
        enforce_eager: bool,
        max_new_tokens: int,
        min_score: float = 0.0,
        begin: float = LIKELIER,
        dataset: str = "",
    ):
        check_begin(begin)
        if max_new_tokens < 1:
            raise UniversalNERError(Errors.U008.format(name="max_new_tokens", got=max_new_tokens))
        self.model = model
        self.dtype = dtype
        self.tensor_parallel_size = tensor_parallel_size
        self.gpu_memory_utilization = gpu_memory_utilization
        self.max_model_len = max_model_len
        self.block_size = block_size
        self.enforce_eager = enforce_eager
        self.max_new_tokens = max_new_tokens
        self.min_score = min_score
        self.begin = begin
        self.dataset = dataset

    @property
    def model(self) -> str | None:
        """Directory of the student. Naming another one lets go of what was loaded."""
        return self._model

    @model.setter
    def model(self, model: str | None) -> None:
        self._model = model
        self._server: Server | None = None

    @property
    def server(self) -> "Server":
        """The loaded student. RAISES (UniversalNERError): none found, not as its manifest says, or no vLLM."""
        if self._server is None:
            self._server = self._load(find_student(self.model))
        return self._server

    def __getstate__(self) -> dict[str, Any]:
        """Without what was loaded: another process loads it itself."""
        return {**self.__dict__, "_server": None}

    def load(self) -> None:
        """Load the student now. RAISES (UniversalNERError): see `server`."""
        _ = self.server

    def save_model(self, folder: str) -> None:
        """Write the whole student into a folder: what is adapters to a base, together with that."""
        save_whole(find_student(self.model), Path(folder))

    def extract(self, passages: Sequence[str], types: Sequence[Sequence[str]]) -> list[list[Answer]]:
        """See Engine.

        RAISES (UniversalNERError): a passage that does not fit the student's context, a data set its template does not
            tell.
        """
        server = self.server
        return server.asker.extract(passages, types, self.dataset, server.answer)

    def _load(self, folder: Path) -> "Server":
        manifest = check_manifest(folder)
        vllm = import_vllm()
        from transformers import AutoConfig, AutoTokenizer

        weights = find_base(manifest["base"], folder) if is_adapter(manifest) else folder
        context = min(self.max_model_len or 1 << 62, context_of(AutoConfig.from_pretrained(weights))[0])
        encoder = Encoder(AutoTokenizer.from_pretrained(folder), load_template(folder))
        llm = vllm.LLM(
            str(weights),
            tokenizer=str(folder),
            trust_remote_code=False,
            dtype=self.dtype,
            tensor_parallel_size=self.tensor_parallel_size,
            gpu_memory_utilization=self.gpu_memory_utilization,
            max_model_len=context,
            enforce_eager=self.enforce_eager,
            enable_prefix_caching=True,
            block_size=self.block_size or pick_block_size(),
            generation_config="vllm",  # not the student's, which may set penalties that its answers were not tuned for
            **(lora_options(folder) if is_adapter(manifest) else {}),
        )
        asker = Asker(
            encoder,
            context=context,
            max_new_tokens=self.max_new_tokens,
            min_score=self.min_score,
            begin=self.begin,
        )
        return Server(vllm, llm, asker, adapter=folder if is_adapter(manifest) else None)


class Server:
    """A student in vLLM.

    vllm (Any): the module.
    llm (LLM): the loaded model.
    asker (Asker): puts the questions and reads the answers.
    adapter (Path | None): the folder of the adapters that are to be added to the model.
    """

    def __init__(self, vllm: Any, llm: Any, asker: Asker, *, adapter: Path | None = None):
        self.vllm = vllm
        self.llm = llm
        self.asker = asker
        self.lora = make_lora_request(adapter) if adapter else None

    def answer(self, questions: Sequence[Question]) -> None:
        """Generate the answers, greedily. One that stops at a bracket in a mention goes on from there, and one of
        nothing from where a list is begun instead."""
        open_ = list(questions)
        while open_:
            outputs = self.llm.generate(
                [{"prompt_token_ids": [*question.prompt, *question.ids]} for question in open_],
                [self._params(question) for question in open_],
                use_tqdm=False,
                lora_request=self.lora,
            )
            open_ = [
                question
                for question, output in zip(open_, outputs, strict=True)
                if add_output(self.asker, question, output.outputs[0])
            ]

    def _params(self, question: Question) -> Any:
        return self.vllm.SamplingParams(
            temperature=0.0,
            max_tokens=question.room,
            stop_token_ids=self.asker.stops,
            ignore_eos=True,  # the end token is among the stops; a configuration may name others
            logprobs=LOGPROBS,
            detokenize=False,
        )


def add_output(asker: Asker, question: Question, said: Any) -> bool:
    """Put what vLLM has generated into a question.

    said (CompletionOutput): its token_ids, logprobs ({id: an object with its logprob} for each) and finish_reason.
    RETURNS (bool): whether the answer is to go on.
    """
    rows = [{i: other.logprob for i, other in others.items()} for others in said.logprobs or ()]
    if asker.hear(question, said.token_ids, rows):
        return True
    return said.finish_reason == "stop" and asker.is_open(question)


def import_vllm() -> Any:
    """RAISES (UniversalNERError): it is not installed, or not for this machine."""
    try:
        import vllm
        from vllm import LLM, SamplingParams  # noqa: F401  (imported when they are first named)
    except (ImportError, OSError, RuntimeError) as err:
        raise UniversalNERError(Errors.U170.format(engine="VLLM", package="vllm", extra="vllm", reason=err)) from err
    return vllm


def pick_block_size() -> int | None:
    """Tokens held together. On a CPU the fewest there may be: vLLM's 128 are more than most passages have, and only
    whole blocks are shared.
    """
    from vllm.platforms import current_platform

    return CPU_BLOCK if current_platform.is_cpu() else None


def lora_options(folder: Path) -> dict[str, Any]:
    """What vLLM is told of the adapters in a folder before it loads their base."""
    config = read_json(folder / ADAPTER_CONFIG)
    rank = max([config["r"], *config.get("rank_pattern", {}).values()])
    return {"enable_lora": True, "max_lora_rank": next((size for size in RANKS if size >= rank), rank)}


def make_lora_request(folder: Path) -> Any:
    """What names the adapters in each call."""
    from vllm.lora.request import LoRARequest

    return LoRARequest("student", 1, str(folder))
