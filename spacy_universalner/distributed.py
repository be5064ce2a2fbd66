"""Work spread over the machines of a Ray cluster, through Ray Data, or done here: the same functions either way."""

import logging
import pickle
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

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
    data = _connect(ray)
    rows = [{"item": pickle.dumps(item)} for item in items]
    results = data.from_items(rows, override_num_blocks=max(1, len(rows))).map(_Task(work))
    for row in results.iter_rows():
        result = pickle.loads(row["result"])
        if isinstance(result, UniversalNERError):
            raise result
        yield result


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


def _connect(address: str) -> Any:
    """RETURNS: the module ray.data, with a cluster behind it."""
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
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    return ray.data


def _reach(address: str) -> None:
    """See that someone listens there, which Ray would wait for many minutes. RAISES (OSError): no one does."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), timeout=10).close()
