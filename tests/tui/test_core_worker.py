from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from textual.message import Message

from int3rceptor_tui.core_worker import CoreWorker, RunnableCore
from int3rceptor_tui.messages import CoreStarted, CoreStopped
from proxy_core.config import Settings
from proxy_core.errors import ListenError
from tests.tui.fake_control import FakeControl, FakeRunnableCore


class Postbox:
    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.came = threading.Semaphore(0)

    def post(self, message: Message) -> None:
        self.messages.append(message)
        self.came.release()

    def wait(self) -> Message:
        assert self.came.acquire(timeout=10)
        return self.messages[-1]


@contextmanager
def running(worker: CoreWorker) -> Iterator[None]:
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join(10)
        assert not thread.is_alive()


def make_worker(core: FakeRunnableCore, box: Postbox) -> CoreWorker:
    return CoreWorker(Settings(), box.post, make=lambda _: core)


def test_a_core_runs_until_it_is_stopped() -> None:
    core, box = FakeRunnableCore(FakeControl()), Postbox()
    worker = make_worker(core, box)
    with running(worker):
        assert isinstance(box.wait(), CoreStarted)
        assert worker.running
    stopped = box.wait()
    assert isinstance(stopped, CoreStopped)
    assert stopped.error is None
    assert core.stops == 1
    assert worker.wait(0)


def test_a_stop_that_comes_before_the_thread_is_not_lost() -> None:
    core, box = FakeRunnableCore(FakeControl()), Postbox()
    worker = make_worker(core, box)
    worker.stop()
    worker.run()
    assert not core.started
    assert [type(message) for message in box.messages] == [CoreStopped]


def test_a_core_that_cannot_start_is_stopped_and_says_why_and_may_be_tried_again() -> None:
    core, box = FakeRunnableCore(FakeControl(), ListenError("port 8080 is taken")), Postbox()
    worker = make_worker(core, box)
    worker.run()
    failed = box.wait()
    assert isinstance(failed, CoreStopped)
    assert failed.error == "port 8080 is taken"
    assert core.stops == 1
    core.start_error = None
    with running(worker):
        assert isinstance(box.wait(), CoreStarted)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ListenError("gone"), "gone"),
        (ZeroDivisionError("by zero"), "a fault of the program: ZeroDivisionError: by zero"),
    ],
)
def test_a_core_that_dies_says_of_what(error: Exception, words: str) -> None:
    core, box = FakeRunnableCore(FakeControl()), Postbox()
    worker = make_worker(core, box)
    with running(worker):
        box.wait()
        core.die(error)
        box.wait()
    _, died = box.messages
    assert isinstance(died, CoreStopped)
    assert died.error == words
    assert core.stops == 1


def test_what_runs_beside_the_core_ends_with_it_and_cannot_end_it() -> None:
    core, box = FakeRunnableCore(FakeControl()), Postbox()
    met: list[RunnableCore] = []

    async def companion(beside: RunnableCore) -> None:
        met.append(beside)
        raise ValueError("its own affair")

    worker = CoreWorker(Settings(), box.post, companion, make=lambda _: core)
    with running(worker):
        assert isinstance(box.wait(), CoreStarted)
    assert met == [core]
    assert len(box.messages) == 2


def test_threads_take_turns_more_often_only_while_a_core_runs() -> None:
    before = sys.getswitchinterval()
    core, box = FakeRunnableCore(FakeControl()), Postbox()
    with running(make_worker(core, box)):
        box.wait()
        assert sys.getswitchinterval() < before
    assert sys.getswitchinterval() == before
