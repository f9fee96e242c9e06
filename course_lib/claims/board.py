"""The board of claims: one row per claim, what is published and what was measured, for every place that shows it.

The same rows become plain text (command line), Markdown (README) and HTML (site and notebooks). Unusual: a claim that
has not been measured is a row too, and a result measured under an older rule is not shown as if it were current.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from course_lib.claims.bootstrap import FAILS, HOLDS, INCONCLUSIVE, NOT_MEASURED, UNTESTABLE
from course_lib.claims.claim import Claim
from course_lib.claims.ledger import DEFAULT_FILE, PRESETS, Results, all_claims, read_results

SIGNS = {HOLDS: "✓", FAILS: "✗", INCONCLUSIVE: "?", UNTESTABLE: "–", NOT_MEASURED: "·"}
COLOURS = {HOLDS: "#0072B2", FAILS: "#D55E00", INCONCLUSIVE: "#7A6000", UNTESTABLE: "#555555", NOT_MEASURED: "#555555"}


@dataclass(frozen=True)
class Row:
    """One claim and its latest result, or None where there is none under the present rule."""

    claim: Claim
    result: dict[str, Any] | None = None

    @property
    def verdict(self) -> str:
        """One of the four verdicts, or "not measured yet"."""
        if self.result is not None:
            return self.result["verdict"]
        return UNTESTABLE if self.claim.untestable else NOT_MEASURED

    @property
    def effect(self) -> str:
        """Measured effect with its interval, or an empty text."""
        if self.result is None or "effect" not in self.result:
            return ""
        result, unit = self.result, f" {self.claim.unit}" if self.claim.unit else ""
        return f"{result['effect']:+.3f}{unit} [{result['low']:+.3f}, {result['high']:+.3f}]"

    @property
    def conditions(self) -> str:
        """The two means behind the effect, or an empty text."""
        if self.result is None or "first" not in self.result:
            return ""
        first, second = self.claim.conditions
        return f"{first} {self.result['first']:.3f}, {second} {self.result['second']:.3f}"

    @property
    def measured(self) -> str:
        """When and on how much it was measured; for an untestable claim, why it was not."""
        if self.result is None or "seeds" not in self.result:
            return self.claim.untestable
        result = self.result
        return (
            f"{result['date']}, preset {result['preset']}, {len(result['seeds'])} seeds, {result['clips']} clips, "
            f"{result['seconds']:.0f} s"
        )

    @property
    def published(self) -> str:
        """Published numbers, or a note that the source says it in words."""
        return "; ".join(map(str, self.claim.published)) or "stated in words"


def load_board(path: str | Path | None = None, lesson: str | None = None) -> tuple[Row, ...]:
    """Rows of the board, in course order, `lesson="00"` for one chapter.

    path  results of `run_claims`; None looks for docs/claims.json in the working folder, those above it, and the
          checkout of this file. A missing file leaves every claim "not measured yet".
    """
    return board(read_results(find_results() if path is None else path), lesson)


def board(results: Results, lesson: str | None = None, claims: Sequence[Claim] | None = None) -> tuple[Row, ...]:
    """Rows for `results` as read from the file; of several presets the largest is shown, smoke runs never."""
    rows = []
    for claim in all_claims() if claims is None else claims:
        if lesson is not None and claim.lesson != lesson:
            continue
        by_preset = results.get(claim.id, {})
        current = [by_preset[p] for p in PRESETS[1:] if by_preset.get(p, {}).get("rule") == claim.fingerprint]
        rows.append(Row(claim, current[-1] if current else None))
    return tuple(rows)


def find_results() -> Path:
    """Where the results file is, or would be."""
    for folder in (Path.cwd(), *Path.cwd().parents, Path(__file__).resolve().parents[2]):
        if (folder / DEFAULT_FILE).is_file():
            return folder / DEFAULT_FILE
    return DEFAULT_FILE


def board_text(rows: Sequence[Row]) -> str:
    """The board for a terminal."""
    blocks = []
    for row in rows:
        head = f"{SIGNS[row.verdict]} {row.claim.id:<28} {row.verdict:<26} {row.effect}".rstrip()
        details = [row.claim.statement, f"source: {row.claim.source} ({row.published})", row.conditions, row.measured]
        blocks.append("\n".join([head, *(f"    {line}" for line in details if line)]))
    return "\n".join([*blocks, summary(rows)])


def board_markdown(rows: Sequence[Row], lesson: str | None = None) -> str:
    """The board as a Markdown table, for the README and the site."""
    rows = _of(rows, lesson)
    lines = ["| claim | source | published | measured here (95 % interval) | verdict |", "|---|---|---|---|---|"]
    for row in rows:
        cells = [row.claim.statement, str(row.claim.source), row.published, row.effect or row.measured, row.verdict]
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join([*lines, "", summary(rows)])


def board_html(rows: Sequence[Row], lesson: str | None = None) -> str:
    """The board as an HTML table with inline styles only, so that it looks the same in a notebook and on the site.

    The verdict is written out, with a sign and a colour that colour-blind readers tell apart.
    """
    rows = _of(rows, lesson)
    cell = "padding:4px 8px;text-align:left;vertical-align:top;border-top:1px solid #8884"
    heads = ("Claim", "Source and published numbers", "Measured here", "Verdict")
    body = []
    for row in rows:
        measured = "<br>".join(escape(text) for text in (row.effect, row.conditions, row.measured) if text) or "—"
        note = f"<br><small>{escape(row.claim.note)}</small>" if row.claim.note else ""
        sign = f'<b style="color:{COLOURS[row.verdict]}">{SIGNS[row.verdict]}&nbsp;{escape(row.verdict)}</b>'
        body.append(
            f'<tr id="claim-{escape(row.claim.id)}">'
            f'<td style="{cell}">{escape(row.claim.statement)}{note}</td>'
            f'<td style="{cell}">{escape(str(row.claim.source))}<br>{escape(row.published)}</td>'
            f'<td style="{cell}"><small>{escape(row.claim.effect)}</small><br>{measured}</td>'
            f'<td style="{cell}">{sign}</td></tr>'
        )
    head = "".join(f'<th scope="col" style="{cell};border-top:0">{text}</th>' for text in heads)
    return (
        '<table style="border-collapse:collapse;max-width:100%">'
        f'<caption style="text-align:left">{escape(summary(rows))}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    )


def summary(rows: Sequence[Row]) -> str:
    """How many claims have which verdict, in one sentence."""
    counts = [(sum(row.verdict == text for row in rows), text) for text in SIGNS]
    listed = ", ".join(f"{count} × {text}" for count, text in counts if count)
    return f"{len(rows)} claim{'' if len(rows) == 1 else 's'}: {listed or 'none'}."


def _of(rows: Sequence[Row], lesson: str | None) -> list[Row]:
    return [row for row in rows if lesson is None or row.claim.lesson == lesson]
