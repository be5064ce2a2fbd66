"""The engines a pipeline's config can name. Each module imports its heavy library when it is first used."""

from typing import Literal

from ..answering import BEGIN, MIN_SCORE
from ..registry import Engine, spacy


@spacy.registry.universal_ner_engines("universal_ner.Transformers.v1")
def make_transformers_engine(
    model: str | None = None,
    revision: str | None = None,
    template: str | None = None,
    device: str | None = None,
    dtype: Literal["auto", "float32", "bfloat16", "int8"] = "auto",
    batch_tokens: int = 8192,
    max_new_tokens: int = 128,
    constrain: bool = True,
    min_score: float = MIN_SCORE,
    begin: float = BEGIN,
    dataset: str = "",
) -> Engine:
    """A student run with Hugging Face transformers.

    model (str | None): the student: a folder, or a repository of a hub (owner/name), which is fetched once; None takes
        the environment's or an installed one.
    revision (str | None): commit, tag or branch of the repository; None for what is there when it is fetched.
    template (str | None): what a model is asked in that brings no template; None knows that of the released UniNER
        models by their names.
    device (str | None): "cpu", "cuda", "cuda:1", "mps"; None takes an accelerator if there is one.
    dtype (str): "float32", "bfloat16" or "auto", the faster one of the device; "int8" for float32 with linear layers
        rounded to 8 bits, on CPUs: faster, with answers that differ here and there (README, "Speed").
    batch_tokens (int): tokens computed or held at a time: of passages with all their questions, then of open questions.
    max_new_tokens (int): longest answer about a type, in tokens; 99.9% of those in the embedded corpus have 64 or
        fewer. A student asked all types in one question (all-in-one.v1) has so many for each type.
    constrain (bool): let the student name only what stands in the passage, so that every mention can be placed.
    min_score (float): an answer ends before a mention whose score is lower, 0 to 1. The default is the best of the
        default student on held-out passages. With `constrain` off, 0 here and `begin` at 0.5, answers are those of
        plain greedy generation.
    begin (float): a list of something is begun where it is at least so probable, up to 0.5: where it is the likelier.
        Lower finds more, above all in text unlike what was learnt. What such a list names is left out where a likelier
        one about the same passage names it.
    dataset (str): the data set whose rules labels should follow, one that a student tuned on gold data was told in
        training; "" for none.
    """
    from .transformers import TransformersEngine

    return TransformersEngine(
        model=model,
        revision=revision,
        template=template,
        device=device,
        dtype=dtype,
        batch_tokens=batch_tokens,
        max_new_tokens=max_new_tokens,
        constrain=constrain,
        min_score=min_score,
        begin=begin,
        dataset=dataset,
    )


@spacy.registry.universal_ner_engines("universal_ner.VLLM.v1")
def make_vllm_engine(
    model: str | None = None,
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto",
    tensor_parallel_size: int = 1,
    gpu_memory_utilization: float = 0.9,
    max_model_len: int | None = None,
    block_size: int | None = None,
    enforce_eager: bool = False,
    max_new_tokens: int = 128,
    min_score: float = MIN_SCORE,
    begin: float = BEGIN,
    dataset: str = "",
) -> Engine:
    """A student run with vLLM, which computes the text that questions share once (prefix caching).

    vLLM starts processes of its own: a script that uses this engine needs `if __name__ == "__main__":`.

    model (str | None): directory of the student; None takes the environment's or an installed one.
    dtype (str): number format; "auto" takes that of the weights.
    tensor_parallel_size (int): devices that each layer is divided among.
    gpu_memory_utilization (float): share of each device's memory to fill.
    max_model_len (int | None): most tokens of a passage, a question and its answer; None, or more than the student
        sees, for what it sees.
    block_size (int | None): tokens of a text that are held, and shared by its questions, together; None for vLLM's
        number, but on a CPU for 32.
    enforce_eager (bool): leave out compiling, which takes a minute or more at the start and pays with much text.
    max_new_tokens (int): longest answer about a type, in tokens (see universal_ner.Transformers.v1).
    min_score (float): what an answer says from a mention on whose score is lower is dropped; 0 keeps all.
    begin (float): a list of something is begun where it is at least so probable, up to 0.5 (see
        universal_ner.Transformers.v1). Such an answer is asked for twice.
    dataset (str): the data set whose rules labels should follow; "" for none.
    """
    from .vllm import VLLMEngine

    return VLLMEngine(
        model=model,
        dtype=dtype,
        tensor_parallel_size=tensor_parallel_size,
        gpu_memory_utilization=gpu_memory_utilization,
        max_model_len=max_model_len,
        block_size=block_size,
        enforce_eager=enforce_eager,
        max_new_tokens=max_new_tokens,
        min_score=min_score,
        begin=begin,
        dataset=dataset,
    )


@spacy.registry.universal_ner_engines("universal_ner.OpenAI.v1")
def make_openai_engine(
    base_url: str,
    model: str,
    student: str | None = None,
    api_key_env: str | None = None,
    concurrency: int = 64,
    timeout: float = 300,
    retries: int = 4,
    logprobs: int = 20,
    max_new_tokens: int = 128,
    min_score: float = MIN_SCORE,
    begin: float = BEGIN,
    dataset: str = "",
) -> Engine:
    """A student behind a server with OpenAI's /v1/completions that takes prompts of token ids, as vLLM and llama.cpp.

    base_url (str): the server, with the version ("http://localhost:8000/v1").
    model (str): the student's name there.
    student (str | None): directory of the same student, for its tokenizer and template: the weights need not be in it.
        None takes the environment's or an installed one.
    api_key_env (str | None): the environment variable that holds the key; None for a server that wants none.
    concurrency (int): requests in flight.
    timeout (float): seconds for a reply.
    retries (int): times a request is sent again that failed for a reason that may pass.
    logprobs (int): probabilities asked for at each token, which scores are made of; 0 for none, no scores, and no list
        begun that is not the likelier. Servers have their limits (vLLM 20, OpenAI 5).
    max_new_tokens (int): longest answer about a type, in tokens (see universal_ner.Transformers.v1).
    min_score (float): what an answer says from a mention on whose score is lower is dropped; 0 keeps all.
    begin (float): a list of something is begun where it is at least so probable, up to 0.5 (see
        universal_ner.Transformers.v1). Such an answer is asked for twice.
    dataset (str): the data set whose rules labels should follow; "" for none.
    """
    from .openai import OpenAIEngine

    return OpenAIEngine(
        base_url=base_url,
        name=model,
        model=student,
        api_key_env=api_key_env,
        concurrency=concurrency,
        timeout=timeout,
        retries=retries,
        logprobs=logprobs,
        max_new_tokens=max_new_tokens,
        min_score=min_score,
        begin=begin,
        dataset=dataset,
    )


@spacy.registry.universal_ner_engines("universal_ner.Seq2Seq.v1")
def make_seq2seq_engine(
    model: str,
    revision: str | None = None,
    prompt: str = "instructuie.v1",
    device: str | None = None,
    dtype: Literal["auto", "float32", "bfloat16"] = "auto",
    batch_size: int = 16,
    max_new_tokens: int = 256,
) -> Engine:
    """An encoder-decoder, such as InstructUIE's Flan-T5, that is asked all types at once. It gives no scores.

    model (str): a folder with weights in safetensors, or a repository of a hub (owner/name), which is fetched once. It
        is no part of a pipeline that is saved.
    revision (str | None): commit, tag or branch of the repository; None for what is there when it is fetched.
    prompt (str): what it reads and how it answers, see prompts.SOURCE_PROMPTS.
    device (str | None): "cpu", "cuda", "cuda:1", "mps"; None takes an accelerator if there is one.
    dtype (str): "float32", "bfloat16" or "auto", the faster one of the device.
    batch_size (int): passages at a time.
    max_new_tokens (int): longest answer to a passage, in tokens; one that is longer is cut and not complete.
    """
    from .seq2seq import Seq2SeqEngine

    return Seq2SeqEngine(
        model=model,
        revision=revision,
        prompt=prompt,
        device=device,
        dtype=dtype,
        batch_size=batch_size,
        max_new_tokens=max_new_tokens,
    )


@spacy.registry.universal_ner_engines("universal_ner.Replay.v1")
def make_replay_engine(answers: dict[str, dict[str, list[str]]]) -> Engine:
    """Canned answers, for tests and demonstrations.

    answers (dict): passage -> type -> mentions.
    """
    from .replay import ReplayEngine

    return ReplayEngine(answers)
