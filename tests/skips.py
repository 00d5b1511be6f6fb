"""A pytest plugin: the last line says what was skipped and why.

With REQUIRE_ALL=1 a run that skipped anything fails.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _pytest.terminal import TerminalReporter

SHOWN = ("passed", "failed", "error", "skipped", "xfailed")


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """The reason a test gave for being skipped."""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return str(report.longrepr)


def last_line(counts: dict[str, int], reasons: Iterable[str]) -> str:
    """One line such as `12 passed, 2 skipped: Chromium is not installed (2)`."""
    line = ", ".join(f"{counts[name]} {name}" for name in SHOWN if counts.get(name))
    why = Counter(reasons).most_common()
    if why:
        line += ": " + "; ".join(f"{reason} ({count})" for reason, count in why)
    return line or "no tests ran"


def reporter(config: pytest.Config) -> TerminalReporter | None:
    plugin: TerminalReporter | None = config.pluginmanager.get_plugin("terminalreporter")
    return plugin


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Turn a run that would pass into a failure when tests were skipped and none may be."""
    terminal = reporter(session.config)
    skipped = terminal is not None and terminal.stats.get("skipped")
    if (
        skipped
        and os.environ.get("REQUIRE_ALL") == "1"
        and session.exitstatus == pytest.ExitCode.OK
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure(config: pytest.Config) -> None:
    """Write the line after all that pytest itself writes."""
    terminal = reporter(config)
    if terminal is None or config.option.collectonly or not hasattr(terminal, "_session"):
        return
    counts = {name: len(terminal.stats.get(name, ())) for name in SHOWN}
    reasons = [reason_of(report) for report in terminal.stats.get("skipped", ())]
    line = last_line(counts, reasons)
    if reasons and os.environ.get("REQUIRE_ALL") == "1":
        line += " (REQUIRE_ALL=1: a skipped test fails this run)"
    terminal.write_line(line)
