import sys
import time

import pytest

from workbench.interrupts import interrupt_again


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
