import signal
import sys
import time

import pytest

from workbench.interrupts import interrupt_again, interrupts_held


class Dropped:
    """Stands for any object whose end Ctrl-C may hit."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def __del__(self) -> None:
        raise self.error


def test_ctrl_c_in_a_destructor_arrives_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "unraisablehook", interrupt_again)

    def work() -> None:
        Dropped(KeyboardInterrupt)
        for _ in range(500):  # at most five seconds
            time.sleep(0.01)

    with pytest.raises(KeyboardInterrupt):
        work()


def test_other_lost_errors_are_reported_and_end_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", interrupt_again)
    Dropped(ZeroDivisionError)
    time.sleep(0.1)
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_ctrl_c_waits_for_the_end_of_the_block() -> None:
    reached = False
    with pytest.raises(KeyboardInterrupt), interrupts_held():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        reached = True
    assert reached
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
