"""Messages about runs, sent to a real mail server: what they say, that they go out once and can fail no run."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from include import alerts
from include.ingestion import IngestionError, ingest
from include.ledger import Ledger
from include.pipeline import deliver, ingest_delivery, write_report
from include.settings import Settings
from tests.support.deliveries import account, customer, day, write_extracts
from tests.support.mail import MailServer, body, mail_server, silent_server, smtp_default
from tests.support.processes import free_port
from tests.support.settings import environment_of, settings_in

ADDRESS = {"ALERT_EMAIL": "ada@example.com, grace@example.com"}


@pytest.fixture
def mail(monkeypatch: pytest.MonkeyPatch) -> Iterator[MailServer]:
    """A mail server that Airflow's connection smtp_default leads to."""
    with mail_server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with somebody to tell, which the callbacks that Airflow calls read as well."""
    settings = settings_in(tmp_path, **ADDRESS)
    for name, value in {**environment_of(settings), **ADDRESS, "DELIVERY_DEADLINE": "06:00"}.items():
        monkeypatch.setenv(name, value)
    return settings


def refuse(settings: Settings, run_id: str = "run_6", header: str = "AccountID,CustomerID,Balance") -> Path:
    """Deliver a file that is refused for lack of a column; return the path of the run's report."""
    write_extracts(settings.input_path, [customer()], [account()])
    (settings.input_path / "accounts.csv").write_text(f"{header}\nA1,1,10\n")
    with pytest.raises(IngestionError):
        ingest_delivery(settings, logical_date=day(6), run_id=run_id)
    return write_report(settings, run_id=run_id)


def deliver_good(settings: Settings, run_id: str) -> Path:
    """Deliver files without a fault, again if they were; return the path of the run's report."""
    write_extracts(settings.input_path, [customer()], [account()])
    return deliver(settings, logical_date=day(6), run_id=run_id)


def test_a_refused_delivery_is_one_mail_with_reason_counts_and_link(settings: Settings, mail: MailServer) -> None:
    report = refuse(settings)

    alerts.notify(settings, report)

    (message,) = mail.messages
    text = body(message)
    assert message["Subject"] == "lc_pipeline refused a delivery"
    assert (message["From"], message["To"]) == ("airflow@example.com", "ada@example.com, grace@example.com")
    assert "accounts.csv" in text
    assert "2026-01-06T02:00:00" in text
    assert "not run" in text
    assert str(report) in text
    assert 'href="http://localhost:8080/dags/lc_pipeline/runs/run_6"' in text


def test_the_report_told_again_is_no_second_mail(settings: Settings, mail: MailServer) -> None:
    """As when the task is tried again, or the run is cleared and ends as before."""
    alerts.notify(settings, refuse(settings))
    alerts.notify(settings, write_report(settings, run_id="run_6"))

    assert len(mail.messages) == 1


def test_another_run_that_is_refused_is_a_mail_of_its_own(settings: Settings, mail: MailServer) -> None:
    alerts.notify(settings, refuse(settings))
    alerts.notify(settings, refuse(settings, "run_6_again"))

    assert mail.subjects == ["lc_pipeline refused a delivery"] * 2


def test_nothing_is_sent_where_nobody_is_to_be_told(settings: Settings, mail: MailServer, tmp_path: Path) -> None:
    alerts.notify(settings_in(tmp_path), refuse(settings))

    assert mail.messages == []


def test_what_a_sender_writes_is_neither_a_template_nor_markup(settings: Settings, mail: MailServer) -> None:
    """A refusal names the columns that it has found."""
    alerts.notify(settings, refuse(settings, header="AccountID,CustomerID,{{ 7 * 7 }}<b>\u202e"))

    (message,) = mail.messages
    assert "{{ 7 * 7 }}&lt;b&gt;" in body(message)
    assert "<b>" not in body(message)


def test_any_notifier_can_be_told_by_settings(settings: Settings, mail: MailServer, tmp_path: Path) -> None:
    arguments = {
        "from_email": "pipeline@example.com",
        "to": "on-call@example.com",
        "subject": "[{{ alert.event }}] {{ alert.run_id }}",
        "html_content": "<pre>{{ alert.text }}</pre>",
    }
    other = settings_in(
        tmp_path,
        ALERT_NOTIFIER="airflow.providers.smtp.notifications.smtp.SmtpNotifier",
        ALERT_NOTIFIER_ARGS=json.dumps(arguments),
    )

    alerts.notify(other, refuse(settings))

    (message,) = mail.messages
    assert (message["Subject"], message["To"]) == ("[refused] run_6", "on-call@example.com")
    assert "\nrun: run_6\n" in body(message)


def test_a_notifier_that_fails_does_not_keep_the_other_from_sending(
    settings: Settings, mail: MailServer, tmp_path: Path
) -> None:
    both = settings_in(tmp_path, **ADDRESS, ALERT_NOTIFIER="airflow.providers.smtp.notifications.smtp.SmtpNotifier")

    alerts.notify(both, refuse(settings))  # that class needs the argument `to`

    assert len(mail.messages) == 1


def test_a_notifier_that_cannot_be_made_sends_once_its_setting_is_right(
    settings: Settings, mail: MailServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = settings_in(tmp_path, ALERT_NOTIFIER="airflow.providers.smtp.notifications.smtp.SmtpNotifierr")
    report = refuse(settings)
    alerts.notify(wrong, report)
    assert "no message was sent" in caplog.text

    alerts.notify(settings, report)

    assert len(mail.messages) == 1


def test_without_a_server_nothing_is_raised_and_the_message_is_sent_another_time(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    report = refuse(settings)
    for name, value in smtp_default(free_port()).items():
        monkeypatch.setenv(name, value)
    alerts.notify(settings, report)
    assert "no message was sent" in caplog.text

    with mail_server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        alerts.notify(settings, report)
    assert len(server.messages) == 1


def test_a_server_that_never_answers_is_given_up(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    report = refuse(settings)
    monkeypatch.setattr(alerts, "NOTIFIER_SECONDS", 1)
    with silent_server() as port:
        for name, value in smtp_default(port).items():
            monkeypatch.setenv(name, value)
        alerts.notify(settings, report)

    assert "SmtpNotifier took too long" in caplog.text


def test_a_report_that_cannot_be_read_fails_nobody(settings: Settings, mail: MailServer, tmp_path: Path) -> None:
    alerts.notify(settings, tmp_path / "nothing.json")

    assert mail.messages == []


def test_a_failed_run_whose_report_has_told_it_is_not_told_twice(settings: Settings, mail: MailServer) -> None:
    alerts.notify(settings, refuse(settings))

    alerts.run_failed({"run_id": "run_6"})

    assert len(mail.messages) == 1


def test_a_failed_run_whose_report_was_killed_before_it_told_is_told_once(settings: Settings, mail: MailServer) -> None:
    refuse(settings)

    alerts.run_failed({"run_id": "run_6"})
    alerts.run_failed({"run_id": "run_6"})

    (message,) = mail.messages
    assert message["Subject"] == "lc_pipeline is red"
    assert "accounts.csv" in body(message)


def test_a_failed_run_without_a_report_is_told(settings: Settings, mail: MailServer) -> None:
    alerts.run_failed({"run_id": "scheduled__2026-01-06T02:00:00+00:00"})

    (message,) = mail.messages
    assert "could not write a quality report" in body(message)
    assert "/runs/scheduled__2026-01-06T02%3A00%3A00%2B00%3A00" in body(message)


def test_a_failed_run_whose_report_is_of_an_earlier_try_is_not_told_with_its_good_news(
    settings: Settings, mail: MailServer
) -> None:
    deliver_good(settings, "run_6")

    alerts.run_failed({"run_id": "run_6"})

    (message,) = mail.messages
    assert "could not write a quality report" in body(message)
    assert "pass" not in body(message)


def test_a_red_run_that_is_cleared_and_finds_its_delivery_processed_is_told_as_good_again(
    settings: Settings, mail: MailServer
) -> None:
    """As when the last task was killed each time, after the exports were published."""
    deliver_good(settings, "run_6")
    alerts.run_failed({"run_id": "run_6"})

    alerts.notify(settings, deliver_good(settings, "run_6"))

    assert mail.subjects == ["lc_pipeline is red", "lc_pipeline is good again"]


@pytest.mark.parametrize("has_report", [True, False])
def test_a_preview_that_fails_is_told_nobody(settings: Settings, mail: MailServer, has_report: bool) -> None:
    if has_report:
        write_report(settings, run_id="preview", failure="another preview is running", is_preview=True)
    conf = {} if has_report else {"preview": True}

    alerts.run_failed({"run_id": "preview", "dag_run": SimpleNamespace(conf=conf)})

    assert mail.messages == []


def late(run_type: str = "scheduled") -> dict[str, Any]:
    """Return what Airflow hands to the callback of a deadline."""
    run = {
        "dag_run_id": f"{run_type}__6",
        "run_type": run_type,
        "state": "running",
        "logical_date": "2026-01-06T02:00:00Z",
    }
    return {"dag_run": run, "deadline": {"deadline_time": "2026-01-06T06:00:00Z"}}


def test_a_scheduled_delivery_that_is_not_published_by_the_deadline_is_told_once(
    settings: Settings, mail: MailServer
) -> None:
    alerts.deadline_missed(late())
    alerts.deadline_missed(late())

    (message,) = mail.messages
    assert message["Subject"] == "lc_pipeline is late"
    assert "was not published by 06:00 UTC" in body(message)


@pytest.mark.parametrize("run_type", ["manual", "backfill"])
def test_nobody_waits_for_other_runs(settings: Settings, mail: MailServer, run_type: str) -> None:
    alerts.deadline_missed(late(run_type))

    assert mail.messages == []


@pytest.mark.parametrize(("published", "mails"), [(5, 1), (6, 0), (7, 0)])
def test_a_deadline_is_met_by_whichever_run_publishes_the_delivery_or_a_later_one(
    settings: Settings, mail: MailServer, published: int, mails: int
) -> None:
    write_extracts(settings.input_path, [customer()], [account()])
    ingest(settings, logical_date=day(published), run_id="by_hand")
    Ledger.load(settings.landing_path).mark_processed()

    alerts.deadline_missed(late())

    assert len(mail.messages) == mails


def test_a_run_that_has_told_why_it_failed_is_not_told_again_as_late(settings: Settings, mail: MailServer) -> None:
    alerts.notify(settings, refuse(settings, "scheduled__6"))

    alerts.deadline_missed(late())

    assert mail.subjects == ["lc_pipeline refused a delivery"]


def test_a_late_run_that_fails_after_all_is_told_for_that(settings: Settings, mail: MailServer) -> None:
    alerts.deadline_missed(late())

    alerts.notify(settings, refuse(settings, "scheduled__6"))

    assert mail.subjects == ["lc_pipeline is late", "lc_pipeline refused a delivery"]


def test_where_nothing_can_be_noted_the_message_goes_out_all_the_same(
    settings: Settings, mail: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    settings.data_quality_report_path.parent.mkdir(parents=True, exist_ok=True)
    settings.data_quality_report_path.write_text("a file where the folder should be")

    with caplog.at_level(logging.WARNING):
        alerts.run_failed({"run_id": "run_6"})

    assert mail.subjects == ["lc_pipeline is red"]
    assert "it can't be noted" in caplog.text
