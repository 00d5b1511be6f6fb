"""What tests ask of findings of `doctor`."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.doctor.finding import Finding


def of(area: str, findings: Iterable[Finding]) -> list[tuple[str, str]]:
    """State and text of what was found in one area."""
    return [(one.state, one.text) for one in findings if one.area == area]


def only(findings: Iterable[Finding]) -> Finding:
    """The one that there is."""
    [found] = findings
    return found
