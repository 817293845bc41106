"""Shows an explanation on a terminal of 80 columns, or as a page in the style of the quality report."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO
from textwrap import wrap

from include.explain.model import Episode, Event, Explanation, Interest, Received
from include.quality.page import environment
from include.terminal import printable

WIDTH = 80
_LABEL = 12

WORDS: dict[Event, str] = {
    "new": "new",
    "changed": "changed",
    "closed": "closed: absent from the file",
    "returned": "returned",
    "quarantined": "quarantined",
    "no longer quarantined": "no longer quarantined",
    "received differently": "received differently, the same after cleaning",
    "customer changed": "its customer changed",
    "rates changed": "other rates",
    "totals changed": "other totals of its accounts",
}


def text_of(explanation: Explanation) -> str:
    """Return an explanation as text of at most 80 columns. A longer word has its own line."""
    head = (
        f"{explanation.entity} {explanation.key}: {_counted(explanation.versions, 'version')} in "
        f"{_counted(explanation.deliveries, 'delivery')}, {_period(explanation)} UTC"
    )
    return "\n".join([*wrap(head, WIDTH), *(line for episode in explanation.episodes for line in _lines(episode))])


def page_of(explanation: Explanation) -> str:
    """Return an explanation as one self-contained HTML page."""
    template = environment().get_template("explain.html.j2")
    return template.render(
        explanation=explanation,
        events_in_words=lambda episode: ", ".join(WORDS[event] for event in episode.events) or "as before",
        record_in_words=record_in_words,
        arithmetic=arithmetic,
        without_version=without_version,
    )


def _lines(episode: Episode) -> Iterator[str]:
    events = ", ".join(WORDS[event] for event in episode.events) or "as before"
    until = f" to {when(episode.last)}, {_counted(episode.deliveries, 'delivery')}" if episode.deliveries > 1 else ""
    yield ""
    yield from wrap(f"{when(episode.first)}{until}: {events}", WIDTH)
    for received in episode.received:
        yield from _labelled("received", f"{episode.file}.csv, record {received.row_number}: {received.status}")
        yield from _labelled("", record_in_words(received))
        for reason in received.reasons:
            yield from _labelled("", f"- {reason}")
    if not episode.received:
        yield from _labelled("received", f"no record in {episode.file}.csv")
    if episode.received:
        yield from _labelled("landed by", f"run {episode.run_id}")
    if episode.version:
        columns = ", ".join(f"{name} {_or_null(value)}" for name, value in episode.version.columns.items())
        since = f", valid since {when(episode.version.valid_from)}"
        yield from _labelled("version", columns + (since if episode.version.valid_from != episode.first else ""))
    else:
        yield from _labelled("version", without_version(episode))
    if episode.is_stale:
        yield from _labelled("", "stale: its records are all quarantined, so it keeps this version")
    for change in episode.changes:
        yield from _labelled("changed", f"{change.column}: {_or_null(change.before)} -> {_or_null(change.after)}")
    if episode.orphan:
        yield from _labelled("orphan", f"{episode.orphan}: it bears no interest")
    for number, line in enumerate(arithmetic(episode.interest) if episode.interest else ()):
        yield from _labelled("" if number else "interest", line)
    if episode.profile:
        profile = episode.profile
        yield from _labelled(
            "profile",
            f"{_counted(profile.total_accounts_count, 'savings account')}, "
            f"balance {profile.total_balance_amount:,.2f}, interest {profile.total_annual_interest_amount:,.2f}",
        )
    yield from _labelled("exported", ", ".join(episode.exported_in) or "no")


def arithmetic(interest: Interest) -> tuple[str, ...]:
    """Return how the interest is calculated, in a few lines."""
    below = f" below {interest.below_balance_amount:,.2f}" if interest.below_balance_amount is not None else ""
    tier = f"{interest.base_rate_pct:.2%} (from {interest.from_balance_amount:,.2f}{below})"
    bonus = f" + {interest.loan_bonus_pct:.2%} loan bonus = {interest.interest_rate_pct:.2%}"
    since = "from the beginning" if interest.rates_from_date is None else f"from {interest.rates_from_date}"
    return (
        f"{tier}{bonus if interest.loan_bonus_pct else ''}, by the rates {since}",
        f"{interest.balance_amount:,.2f} x {interest.interest_rate_pct} = {interest.product:,f}, rounded "
        f"{interest.annual_interest_amount:,.2f}",
        f"new balance {interest.new_balance_amount:,.2f}",
    )


def without_version(episode: Episode) -> str:
    """Return why there is no version."""
    return "none: it has no valid record" if episode.received else "none: it is absent"


def record_in_words(received: Received) -> str:
    """Return a record as received: its raw text, or else its fields as a line of CSV, with NULL for a missing one."""
    if received.raw_record is not None:
        return received.raw_record
    line = StringIO()
    csv.writer(line, lineterminator="").writerow([_or_null(value) for value in received.fields.values()])
    return line.getvalue()


def when(time: datetime) -> str:
    """Return a time in UTC: to the minute, or more exact if it has seconds."""
    text = f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}".rstrip("0").rstrip(".")
    return text.removesuffix(":00") if text.endswith(":00") else text.removesuffix(":")


def _labelled(label: str, text: str) -> Iterator[str]:
    lines = wrap(printable(text), WIDTH - _LABEL) or [""]
    yield f"  {label:<{_LABEL - 2}}{lines[0]}".rstrip()
    yield from (" " * _LABEL + line for line in lines[1:])


def _or_null(value: str | None) -> str:
    return "NULL" if value is None else value


def _period(explanation: Explanation) -> str:
    first, until = when(explanation.first), when(explanation.until)
    return first if first == until else f"{first} to {until}"


def _counted(number: int, what: str) -> str:
    plural = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{number:,} {what if number == 1 else plural}"
