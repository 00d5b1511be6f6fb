"""Aims that are missed by little: the two alerts that are told only while the loud ones are silent.

Like `test_end_to_end.py`, on the same real parts. Five minutes are a second here, and a day is
longer than the test, so shares are of all that was asked.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import alerting_site
import httpx
import servers
from alerting_site import DOCS
from followed import until

pytestmark = alerting_site.MARKS

TEXT = "Ada Lovelace was born in London."
BODY = {"instances": [TEXT], "parameters": {"labels": ["person"]}}
SOON, LATE = 0.001, 0.7
"""Seconds: too few for an answer, and more than the half that one may take."""
BOTH = ("GlinerErrorsSlow", "GlinerLatencySlow")


def slowly(body: bytes, seconds: float) -> Iterator[bytes]:
    """A body that takes so long to come, however quick this machine is just now."""
    yield body[:1]
    time.sleep(seconds)
    yield body[1:]


def test_two_aims_missed_by_little(tmp_path: Path) -> None:
    """One in a hundred gets no answer and two a slow one, until most are as they should be."""
    with (
        servers.running(tmp_path) as server,
        alerting_site.watching(tmp_path, server.url.removeprefix("http://"), 300) as site,
        httpx.Client(base_url=server.url, timeout=60, trust_env=False) as http,
    ):

        def ask(*, within: float = 60, sent_in: float = 0) -> int:
            body = json.dumps(BODY).encode()
            content = slowly(body, sent_in) if sent_in else body
            headers = {"x-request-timeout": str(within), "content-type": "application/json"}
            return http.post(
                "/v1/models/gliner:predict", content=content, headers=headers
            ).status_code

        # Prometheus counts from the second value of a series on.
        seen = Counter([ask(), ask(within=SOON)])
        until(lambda: site.value('gliner_requests_total{status="504"}') == 1)
        before = list(site.slack.titles)
        # However few of them a window holds on a busy machine, no share is near a loud alert's.
        seen.update(ask() for _ in range(100))
        for _ in range(3):
            for one in ({"within": SOON}, {"sent_in": LATE}, {"sent_in": LATE}):
                seen.update(ask() for _ in range(25))
                seen[ask(**one)] += 1
        for name in BOTH:
            site.told(f"1 firing: {name}")
        # One after another: callers who wait for each other could be slow beyond what is meant.
        seen.update(ask() for _ in range(800))
        for name in BOTH:
            site.told(f"Over: {name}")
    count = Counter(site.slack.titles)

    assert before == []
    assert seen == {200: 1132, 504: 4}
    assert (count["1 firing: GlinerErrorsSlow"], count["Over: GlinerErrorsSlow"]) == (1, 1)
    # On a busy machine answers may be slow once more, after it was over.
    assert count["1 firing: GlinerLatencySlow"] - count["Over: GlinerLatencySlow"] in (0, 1)
    assert not {"1 firing: GlinerErrorsFast", "1 firing: GlinerLatencyFast"} & set(count)
    errors, latency = (site.shown(f"1 firing: {name}") for name in BOTH)
    assert "*[warning]* More predictions fail than the aim allows\n" in errors
    assert f"<{DOCS}#glinererrorsslow|What to do>" in errors
    assert "*[warning]* More predictions are slow than the aim allows\n" in latency
    assert f"<{DOCS}#glinerlatencyslow|What to do>" in latency
