"""Aims that are missed by little: the two alerts that are told only while the loud ones are silent.

Like `test_end_to_end.py`, on the same real parts. Five minutes are a second here, and a day is
longer than the test, so shares are of all that was asked.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import alerting_site
import httpx
import servers
from alerting_site import DOCS
from followed import until

pytestmark = alerting_site.MARKS

SHORT = "Ada Lovelace was born in London."
LONG = f"{SHORT} " * 1000
"""Takes longer than half a second."""
BOTH = ("GlinerErrorsSlow", "GlinerLatencySlow")


def test_two_aims_missed_by_little(tmp_path: Path) -> None:
    """Two in a hundred get no answer and four a slow one, until most are as they should be."""
    with (
        servers.running(tmp_path) as server,
        alerting_site.watching(tmp_path, server.url.removeprefix("http://"), 300) as site,
        httpx.Client(base_url=server.url, timeout=60, trust_env=False) as http,
    ):

        def ask(text: str = SHORT, seconds: str = "60") -> int:
            body = {"instances": [text], "parameters": {"labels": ["person"]}}
            headers = {"x-request-timeout": seconds}
            return http.post("/v1/models/gliner:predict", json=body, headers=headers).status_code

        # Prometheus counts from the second value of a series on.
        seen = Counter([ask(), ask(LONG, "0.001")])
        until(lambda: site.value('gliner_requests_total{status="504"}') == 1)
        before = list(site.slack.titles)
        seen.update(ask() for _ in range(100))
        for _ in range(6):
            seen.update(ask() for _ in range(30))
            seen.update([ask(LONG, "0.001"), ask(LONG), ask(LONG)])
        for name in BOTH:
            site.told(f"1 firing: {name}")
        with ThreadPoolExecutor(4) as pool:
            seen.update(pool.map(lambda _: ask(), range(1500)))
        for name in BOTH:
            site.told(f"Over: {name}", 60)
    count = Counter(site.slack.titles)

    assert before == []
    assert seen == {200: 1793, 504: 7}
    for name in BOTH:
        assert (count[f"1 firing: {name}"], count[f"Over: {name}"]) == (1, 1), name
    assert not {"1 firing: GlinerErrorsFast", "1 firing: GlinerLatencyFast"} & set(count)
    errors, latency = (site.shown(f"1 firing: {name}") for name in BOTH)
    assert "*[warning]* More predictions fail than the aim allows\n" in errors
    assert f"<{DOCS}#glinererrorsslow|What to do>" in errors
    assert "*[warning]* More predictions are slow than the aim allows\n" in latency
    assert f"<{DOCS}#glinerlatencyslow|What to do>" in latency
