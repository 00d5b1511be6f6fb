"""A model's mistakes as tables: for a spreadsheet, for MLflow's UI, and as a page to read."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template

from pipeline.measuring.measure import Text
from pipeline.measuring.mistakes import Mistake, snippet

COLUMNS = ("kind", "text", "mention", "true_label", "given_label", "score", "place")
MOST = 500
"""Most mistakes in a table."""


def rows(mistakes: Sequence[Mistake], texts: Sequence[Text]) -> list[list[str]]:
    """The worst mistakes, the mention marked in its text as `[[mention]]`."""
    found = []
    for one in mistakes[:MOST]:
        text = texts[one.row]
        before, mention, after = snippet(text.text, one.start, one.end)
        marked = f"{before}[[{mention}]]{after}"
        labels = (one.true_label, one.given_label)
        found.append([one.kind, marked, mention, *labels, f"{one.score:.3f}", text.place])
    return found


def write_csv(file: Path, table: Sequence[Sequence[str]]) -> None:
    """For a spreadsheet. A cell that one would take for a formula begins with an apostrophe."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        writer.writerows(
            [
                f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
                for cell in row
            ]
            for row in table
        )


def write_json(file: Path, table: Sequence[Sequence[str]]) -> None:
    """As `MlflowClient.log_table` would write it; that one adds to what an earlier try left."""
    text = json.dumps({"columns": COLUMNS, "data": table}, ensure_ascii=False)
    file.write_text(text, encoding="utf-8")


def write_html(file: Path, name: str, mistakes: Sequence[Mistake], texts: Sequence[Text]) -> None:
    """A page that a person reads from the top: the mistakes that the model was surest of."""
    lines = []
    for one in mistakes[:MOST]:
        before, mention, after = map(escape, snippet(texts[one.row].text, one.start, one.end))
        lines.append(
            f"<tr><td>{one.kind}</td>"
            f'<td dir="auto">{before}<mark>{mention}</mark>{after}</td>'
            f"<td>{escape(one.true_label) or '–'}</td><td>{escape(one.given_label) or '–'}</td>"
            f'<td class="number">{one.score:.2f}</td><td>{escape(texts[one.row].place)}</td></tr>'
        )
    counts = Counter(one.kind for one in mistakes)
    summary = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
    more = f" The first {MOST} are shown." if len(mistakes) > MOST else ""
    page = _PAGE.substitute(
        name=escape(name), summary=f"{summary or 'no mistakes'}.{more}", rows="\n".join(lines)
    )
    file.write_text(page, encoding="utf-8")


_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Mistakes of $name</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem; color: #1a1a1a; background: #fff; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .45rem .7rem;
         border-bottom: 1px solid #ddd; }
th { position: sticky; top: 0; background: #f4f4f4; white-space: nowrap; }
td:first-child { white-space: nowrap; }
td:nth-child(2) { min-width: 22rem; overflow-wrap: anywhere; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
mark { background: #ffe08a; padding: 0 .15em; border-radius: .2em; }
</style>
</head>
<body>
<h1>Mistakes of $name</h1>
<p>$summary Wrong ones come first, those that the model was surest of at the top; then missed
ones, those with the lowest score at the top.</p>
<table>
<thead><tr><th>Kind</th><th>Text</th><th>True label</th><th>Given label</th><th>Score</th>
<th>Place</th></tr></thead>
<tbody>
$rows
</tbody>
</table>
</body>
</html>
""")
