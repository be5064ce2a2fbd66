"""Work spread over the machines of a Ray cluster, through Ray Data, or done here: the same functions either way."""

import logging
import math
import pickle
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NoReturn, TypeVar

from .errors import Errors, UniversalNERError

T = TypeVar("T")
R = TypeVar("R")
HERE = "local"
"""The address of a cluster that is started on this machine, for the time of the work."""


def spread(work: Callable[[T], R], items: Iterable[T], ray: str = "") -> Iterator[R]:
    """Do a piece of work on each item. Results come in the order of the items.

    work (Callable): a function without side effects, like a module's function with its settings bound by `partial`.
    items (Iterable): what it is given; small, like parts of files that every machine of the cluster can read.
    ray (str): the cluster's address ("auto", "host:6379", "ray://host:10001"), "local" for one on this machine; empty
        to work in this process.
    YIELDS: the results.
    RAISES (UniversalNERError): what the work raises, and if Ray is not installed.
    """
    if not ray:
        yield from map(work, items)
        return
    data = _connect(ray).data
    rows = [{"item": pickle.dumps(item)} for item in items]
    results = data.from_items(rows, override_num_blocks=max(1, len(rows))).map(_Task(work))
    yield from map(_unpack, results.iter_rows())


def stream(
    make: Callable[[], Callable[[T], R]],
    read: Callable[[], Iterable[T]],
    ray: str = "",
    *,
    cpus: int = 1,
    gpus: int = 0,
) -> Iterator[R]:
    """Do work that takes long to begin, like that of a model, on a stream of items, of which few are held at a time.

    make (Callable): makes what does the work; called once by each worker.
    read (Callable): gives the items; called once, on some machine of the cluster.
    ray (str): as of `spread`.
    cpus, gpus (int): what a worker takes of its machine; there are as many as have room.
    YIELDS: the results, from a cluster in the order in which they are ready.
    RAISES (UniversalNERError): what reading and working raise, and if Ray is not installed.
    """
    if not ray:
        yield from map(make(), read())
        return
    module = _connect(ray, ordered=False)
    room = module.cluster_resources()
    most = int(min(room.get("CPU", 0) // cpus, room.get("GPU", 0) // gpus if gpus else math.inf))
    if most < 1:
        reason = f"it has no room for a worker of {cpus} CPUs and {gpus} GPUs"
        raise UniversalNERError(Errors.U204.format(address=ray, reason=reason))
    items = module.data.from_items([{"item": b""}]).map_batches(_Reader(read), batch_size=1, num_cpus=0)
    pool = module.data.ActorPoolStrategy(size=most)  # all at once: one that grows does so slowly
    results = items.map(_Worker, fn_constructor_args=(make,), compute=pool, num_cpus=cpus, num_gpus=gpus)
    yield from map(_unpack, results.iter_rows())


def _unpack(row: Mapping[str, bytes]) -> Any:
    result = pickle.loads(row["result"])
    if isinstance(result, UniversalNERError):
        raise result
    return result


class _Reader:
    """Reads the items on a worker, each into a row."""

    def __init__(self, read: Callable[[], Iterable[Any]]) -> None:
        self.read = read

    def __call__(self, batch: Any) -> Iterator[dict[str, list[bytes]]]:
        try:
            for item in self.read():
                yield {"item": [pickle.dumps(item)]}
        except UniversalNERError as err:
            yield {"item": [pickle.dumps(err)]}


class _Worker:
    """Holds what does the work. What went wrong when it was made, or before, is the result."""

    def __init__(self, make: Callable[[], Callable[[Any], Any]]) -> None:
        try:
            self.work = make()
        except UniversalNERError as err:
            self.work = partial(_fail, err)

    def __call__(self, row: dict[str, bytes]) -> dict[str, bytes]:
        try:
            item = pickle.loads(row["item"])
            result = item if isinstance(item, UniversalNERError) else self.work(item)
        except UniversalNERError as err:
            result = err
        return {"result": pickle.dumps(result)}


def _fail(err: UniversalNERError, item: Any) -> NoReturn:
    raise err


class _Task:
    """Runs the work on a worker. An error of ours is a result: Ray would wrap it in its own and tell it many times."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self.work = work

    def __call__(self, row: dict[str, bytes]) -> dict[str, bytes]:
        try:
            result = self.work(pickle.loads(row["item"]))
        except UniversalNERError as err:
            result = err
        return {"result": pickle.dumps(result)}


def _connect(address: str, *, ordered: bool = True) -> Any:
    """RETURNS: the module ray with its module data, with a cluster behind it."""
    try:
        import ray
        import ray.data
    except ImportError as err:
        raise UniversalNERError(Errors.U140.format(reason=err)) from err
    options = {"include_dashboard": False} if address == HERE else {"address": address}
    try:
        _reach(address)
        if not ray.is_initialized():  # once a process, until it ends: Ray does not always survive another start
            ray.init(log_to_driver=False, logging_level=logging.WARNING, **options)
    except (OSError, ValueError, RuntimeError) as err:
        raise UniversalNERError(Errors.U141.format(address=address, reason=err)) from err
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = ordered
    context.target_max_block_size = 1  # each row is a block, and blocks are what workers take
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    return ray


def _reach(address: str) -> None:
    """See that someone listens there, which Ray would wait for many minutes. RAISES (OSError): no one does."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), timeout=10).close()
