"""Alerts: which runs need one, what it says, and how it is sent only once (docs/guides/alerts.md).

An Airflow notifier sends the message. Nothing here fails or delays a run: errors are logged. The DAG file imports this
module, so the report's types, which need duckdb, are imported in the functions.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from airflow.sdk import DeadlineAlert, DeadlineReference, SyncCallback  # type: ignore[attr-defined]  # its stub
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowTaskTimeout
from airflow.sdk.execution_time.timeout import timeout
from airflow.sdk.module_loading import import_string

from include.artifacts import artifacts_dir, report_of
from include.files import replacing
from include.ledger import FINISHED, Ledger, time_text
from include.settings import AlertSettings, Settings, load_settings
from include.ui import DAG_ID

if TYPE_CHECKING:
    from airflow.sdk.bases.notifier import BaseNotifier

    from include.quality.report import Report, Verdict

log = logging.getLogger(__name__)

Event = Literal["red", "refused", "worse", "good again", "late"]

SUBJECTS: dict[Event, str] = {
    "red": "is red",
    "refused": "refused a delivery",
    "worse": "has warnings that it did not have before",
    "good again": "is good again",
    "late": "is late",
}

NOTIFIER_SECONDS = 20
"""How long a notifier may take. After that the run continues without it."""


@dataclass(frozen=True)
class Alert:
    """A message, as a notifier's arguments can use it: `{{ alert.subject }}`. It contains no personal data."""

    event: Event
    subject: str
    text: str
    html: str
    url: str
    run_id: str


def event_of(report: Report, previous: Verdict | None) -> Event | None:
    """Return the event that a run should be reported as, or None; `previous` is the last verdict that counts.

    Refused and red runs are always reported. Other runs are reported if the verdict is worse or better than before.
    """
    if report.verdict == "fail":
        return "refused" if report.run.outcome == "refused" else "red"
    if previous in (None, report.verdict):
        return None
    return "worse" if previous == "pass" else "good again"


def previous_verdict(report: Report) -> Verdict | None:
    """Return the verdict of the previous run from the report's trend, or None if there was none.

    Runs that changed nothing don't count, nor do deliveries that a later run finished first: it reports both. For a run
    that has itself changed nothing it is None: it says nothing about the delivery that people wait for.
    """
    if report.run.outcome == "unchanged":
        return None
    return next(
        (
            entry.verdict
            for entry in reversed(report.trend[:-1])
            if not entry.run_id.endswith(FINISHED) and (entry.outcome != "unchanged" or entry.verdict == "fail")
        ),
        None,
    )


def notify(settings: Settings, report_path: Path) -> None:
    """Send an alert for a report if it needs one and the run has not sent the same alert before."""
    if not settings.alerts.on:
        return
    with _nothing_raised():
        from include.quality.report import Report

        report = Report.load(report_path)
        sent = _sent(settings, report.run.run_id)
        event = event_of(report, sent.verdict if sent else previous_verdict(report))
        if event:
            _send_once(settings, _of_report(event, report, report_path), report.verdict)


def run_failed(context: Mapping[str, Any]) -> None:
    """DAG failure callback, which runs in the DAG processor: send the alert that `quality_report` could not send.

    It could not if every try was killed, or if it can't write a report.
    """
    with _nothing_raised():
        settings, run_id = load_settings(), context["run_id"]
        sent = _sent(settings, run_id)
        if sent and sent.event in ("red", "refused"):
            log.info("run %s has sent its message: %s", run_id, sent.event)
            return
        from include.quality.report import Report

        path = report_of(settings.data_quality_report_path, run_id)
        report = Report.load(path) if path else None
        params = getattr(context.get("dag_run"), "conf", None) or {}
        if params.get("preview") or (report and report.run.is_preview):
            log.info("run %s is a preview: nobody waits for it", run_id)
            return
        if path and report and report.verdict == "fail":
            alert = _of_report("red", report, path)
        else:  # no report, or one of an earlier try
            why = "the run failed and could not write a quality report that says why"
            alert = _alert("red", run_id, {"why": why, "run": run_id})
        _send_once(settings, alert, "fail")


def deadline(settings: Settings, scheduled_at: time) -> DeadlineAlert | None:
    """Return Airflow's DeadlineAlert for runs scheduled at `scheduled_at` (UTC), or None if no deadline is set.

    It runs deadline_missed() in the executor a few seconds after the deadline, without a triggerer.
    """
    by = settings.alerts.deadline
    if by is None:
        return None
    minutes = (by.hour - scheduled_at.hour) * 60 + by.minute - scheduled_at.minute
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_LOGICAL_DATE,
        interval=timedelta(minutes=minutes % (24 * 60)),
        callback=SyncCallback(deadline_missed),
        name="DELIVERY_DEADLINE",
    )


def deadline_missed(context: Mapping[str, Any]) -> None:
    """Deadline callback, for a run that has not succeeded in time: send an alert if nothing is published.

    Backfills and manual runs have the deadline too but send nothing, nor does a run that already sent why it failed.
    """
    with _nothing_raised():
        run = context["dag_run"]
        run_id = run["dag_run_id"]
        if run["run_type"] != "scheduled":
            log.info("run %s is not a scheduled one: nobody waits for it", run_id)
            return
        settings = load_settings()
        logical_date = datetime.fromisoformat(run["logical_date"])
        published = Ledger.load(settings.landing_path).last_processed
        if published and published.logical_date >= logical_date:
            log.info("the delivery of %s is published", time_text(logical_date))
            return
        if sent := _sent(settings, run_id):
            log.info("run %s has sent its message: %s", run_id, sent.event)
            return
        by = settings.alerts.deadline
        facts = {
            "why": f"the delivery of {time_text(logical_date)} was not published by {by:%H:%M} UTC",
            "run": f"{run_id}, {run['state']}",
        }
        _send_once(settings, _alert("late", run_id, facts), "fail")


@dataclass(frozen=True)
class _Sent:
    """The last alert of a run. It is kept in the run's artifacts, so that neither a retry nor a clear repeats it."""

    event: Event
    verdict: Verdict


def _sent_path(settings: Settings, run_id: str) -> Path:
    return artifacts_dir(settings, run_id) / "alert.json"


def _sent(settings: Settings, run_id: str) -> _Sent | None:
    with suppress(OSError, ValueError, TypeError):
        return _Sent(**json.loads(_sent_path(settings, run_id).read_text(encoding="utf-8")))
    return None


def _send_once(settings: Settings, alert: Alert, verdict: Verdict) -> None:
    """Send a message unless it repeats the run's last one. It is noted before sending, so a crash can't repeat it."""
    before = _sent(settings, alert.run_id)
    if before and before.event == alert.event:
        log.info("run %s has sent its message: %s", alert.run_id, alert.event)
        return
    notifiers = list(_notifiers(settings.alerts))
    _remember(settings, alert.run_id, _Sent(alert.event, verdict))
    sent = [_send(notifier, alert) for notifier in notifiers]
    if not any(sent):
        _remember(settings, alert.run_id, before)


def _remember(settings: Settings, run_id: str, sent: _Sent | None) -> None:
    try:
        path = _sent_path(settings, run_id)
        if sent is None:
            path.unlink(missing_ok=True)
            return
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(vars(sent)) + "\n", encoding="utf-8")
    except OSError:
        log.warning("it can't be noted that run %s sends its message", run_id, exc_info=True)


def _of_report(event: Event, report: Report, path: Path) -> Alert:
    run, tests = report.run, report.totals.tests
    at = run.delivered_at or run.logical_date
    facts = {
        "why": report.why,
        "delivery": time_text(at) if at else "unknown",
        "run": run.run_id,
        "verdict": report.verdict,
    }
    for file in report.reconciliation or ():
        facts[file.file] = (
            f"{file.read} read = {file.staged} staged + {file.duplicates} duplicates + {file.quarantined} quarantined"
        )
    counts = {"failed": tests.fail + tests.error, "warned": tests.warn, "passed": tests.pass_, "not run": tests.not_run}
    facts["tests"] = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    facts["report"] = str(path)
    return _alert(event, run.run_id, facts)


def _alert(event: Event, run_id: str, facts: Mapping[str, str]) -> Alert:
    """Return a message with these facts. The subject contains nothing that the sender of a file can choose."""
    base = conf.get("api", "base_url", fallback="http://localhost:8080/").rstrip("/")
    url = f"{base}/dags/{DAG_ID}/runs/{quote(run_id, safe='')}"
    lines = {what: " ".join(fact.split()) for what, fact in facts.items()}
    rows = "".join(
        f'<tr><th align="left" valign="top">{escape(what)}</th><td>{escape(fact)}</td></tr>'
        for what, fact in lines.items()
    )
    return Alert(
        event=event,
        subject=f"{DAG_ID} {SUBJECTS[event]}",
        text="\n".join([*(f"{what}: {fact}" for what, fact in lines.items()), url]),
        html=f'<table cellpadding="4">{rows}</table><p><a href="{escape(url)}">The run in Airflow</a></p>',
        url=url,
        run_id=run_id,
    )


def _notifiers(alerts: AlertSettings) -> Iterator[BaseNotifier]:
    if alerts.email:
        from airflow.providers.smtp.hooks.smtp import SmtpHook
        from airflow.providers.smtp.notifications.smtp import SmtpNotifier

        class OneTry(SmtpHook):  # type: ignore[misc]
            """The provider's SMTP hook, limited to one try. Its default is five more, of 30 seconds each."""

            smtp_retry_limit = 0

        mail = SmtpNotifier(to=list(alerts.email), subject="{{ alert.subject }}", html_content="{{ alert.html }}")
        mail.hook = OneTry(smtp_conn_id=mail.smtp_conn_id)
        yield mail
    if alerts.notifier:
        with _nothing_raised():
            yield import_string(alerts.notifier)(**alerts.notifier_args)


def _send(notifier: BaseNotifier, alert: Alert) -> bool:
    """Return True if the notifier sent the message. Its arguments are rendered as templates; the values are not."""
    with _nothing_raised(), timeout(NOTIFIER_SECONDS, f"{type(notifier).__name__} took too long"):
        notifier({"alert": alert})
        log.info("sent by %s: %s", type(notifier).__name__, alert.subject)
        return True
    return False


@contextmanager
def _nothing_raised() -> Iterator[None]:
    """Log what the body raises and continue: an alert must not fail a run."""
    try:
        yield
    except (Exception, AirflowTaskTimeout):
        log.exception("no message was sent")
