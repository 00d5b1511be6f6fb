"""What is said, and that Slack would take it."""

from __future__ import annotations

import pytest
import slack_server

from pipeline.slack import messages
from pipeline.slack.messages import Facts, Message

LINKS = (
    ("Version", "http://mlflow.example/#/models/gliner-ner/versions/3"),
    ("Dashboard", "https://grafana.example/d/gliner?from=now-7d&to=now"),
)
FACTS = Facts(
    model="gliner-ner",
    number=3,
    scores={"f1": 0.8123, "precision": 0.9, "recall": 0.74},
    against=2,
    against_scores={"f1": 0.8, "precision": 0.91, "recall": 0.74},
    links=LINKS,
)
HOSTILE = "<!channel> & <script> *bold* " + "é🙂&<>" * 4_000
LONG = Facts(
    model="m" * 500,
    number=10**9,
    scores=FACTS.scores,
    links=(*LINKS, ("Run", "http://mlflow.example/" + "x" * 5_000), ("Odd", "http://a/|<b> c&d")),
)


def every(facts: Facts, text: str) -> list[Message]:
    return [
        messages.promoted(facts),
        messages.evaluated(facts),
        messages.unseen(facts),
        messages.refused(facts, [text] * 60),
        messages.failed(facts, text, text),
        messages.cancelled(facts),
        messages.rolled_back(facts, text),
        messages.review_asked(facts, 168),
        messages.review_rejected(facts, text),
        messages.review_expired(facts, text),
        messages.review_ignored(facts, text),
        messages.threshold_crossed(facts, limit=0.8, above=True, serving=True),
        messages.threshold_crossed(facts, limit=0.8, above=False, serving=False),
        messages.hello(facts),
    ]


@pytest.mark.parametrize("text", ["too slow", HOSTILE, "", "\n", "x" * 50_000])
@pytest.mark.parametrize("facts", [FACTS, LONG, Facts("gliner-ner")], ids=["usual", "long", "bare"])
def test_every_message_is_within_slacks_limits(facts: Facts, text: str) -> None:
    """Whatever a reason or a name holds, Slack takes the message."""
    payloads = [message.payload() for message in every(facts, text)]

    assert [slack_server.problems(payload) for payload in payloads] == [[]] * len(payloads)


def test_the_check_itself_finds_what_is_wrong() -> None:
    """The local Slack refuses what Slack refuses."""
    section = {"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3_001}}
    header = {"type": "header", "text": {"type": "mrkdwn", "text": "a <!channel> b"}}
    payload = {"text": "", "blocks": [section, header] * 26, "channel": "#x"}

    found = set(slack_server.problems(payload))

    assert found == {
        "unknown key channel",
        "text: 1 to 4000 characters",
        "blocks: 1 to 50",
        "section: 1 to 3000 characters, has 3001",
        "header: plain_text",
    }
    assert slack_server.problems({"text": "a < b", "blocks": [section]})[0].startswith("text: &")


def test_a_message_has_scores_against_the_champion_and_links() -> None:
    """A reader sees what changed without opening anything."""
    blocks = messages.promoted(FACTS).payload()["blocks"]

    assert blocks[0]["text"]["text"] == ":white_check_mark: gliner-ner version 3 serves"
    assert [one["text"] for one in blocks[1]["fields"]] == [
        "*F1*\n0.812 (+0.012)",
        "*Precision*\n0.900 (-0.010)",
        "*Recall*\n0.740 (+0.000)",
        "*Compared with*\nversion 2",
    ]
    assert blocks[2]["text"]["text"] == (
        "<http://mlflow.example/#/models/gliner-ner/versions/3|Version> · "
        "<https://grafana.example/d/gliner?from=now-7d&amp;to=now|Dashboard>"
    )


def test_a_refusal_names_each_failed_check() -> None:
    """One line for each, and the number of those that are too many."""
    few = messages.refused(FACTS, ["F1 0.61 is below 0.80", "person lost 0.05"])
    many = messages.refused(FACTS, [f"label {number} lost" for number in range(20)])

    assert few.payload()["blocks"][1]["text"]["text"] == (
        "• F1 0.61 is below 0.80\n• person lost 0.05"
    )
    assert many.payload()["blocks"][1]["text"]["text"].endswith("• label 14 lost\n• and 5 more")


def test_a_long_reason_is_cut_and_never_through_an_entity() -> None:
    """An escaped character stays whole before the ellipsis."""
    message = messages.rolled_back(FACTS, "a" * 1_980 + "&" * 100)

    text = message.payload()["blocks"][1]["text"]["text"]
    assert text.endswith("a&amp;&amp;…")
    assert len(text) <= 2_000


@pytest.mark.parametrize(
    ("above", "serving", "title"),
    [
        (False, True, "F1 (0.812) is below 0.85: gliner-ner version 3, which serves"),
        (True, False, "F1 (0.812) is above 0.85: gliner-ner version 3"),
    ],
)
def test_a_crossed_threshold_says_which_side(above: bool, serving: bool, title: str) -> None:
    """The title alone tells value, limit and version."""
    message = messages.threshold_crossed(FACTS, limit=0.85, above=above, serving=serving)

    assert message.text == title


def test_scores_that_are_no_numbers_are_left_out() -> None:
    """A tag that somebody edited breaks no message."""
    found = messages.scores_of({"f1": "0.5", "precision": "nan", "recall": "high"})

    assert found == {"f1": 0.5}
