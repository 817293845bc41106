"""A mail server of the test's own, to which Airflow's connection smtp_default can lead."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message

from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as MessageHandler

from tests.support.processes import free_port


class MailServer(MessageHandler):  # type: ignore[misc]
    """What has arrived is in `messages`, oldest first."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[Message] = []
        self.port = free_port()

    def handle_message(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def subjects(self) -> list[str]:
        return [message["Subject"] for message in self.messages]

    @property
    def environment(self) -> dict[str, str]:
        """The variable that leads Airflow here."""
        return smtp_default(self.port)


def smtp_default(port: int) -> dict[str, str]:
    """Return the variable that makes a server on this machine Airflow's connection smtp_default."""
    connection = {
        "conn_type": "smtp",
        "host": "127.0.0.1",
        "port": port,
        "extra": {"disable_ssl": True, "disable_tls": True, "from_email": "airflow@example.com"},
    }
    return {"AIRFLOW_CONN_SMTP_DEFAULT": json.dumps(connection)}


def body(message: Message) -> str:
    """Return the text of a message's first part."""
    (part,) = message.get_payload()  # type: ignore[misc]
    content = part.get_payload(decode=True)  # type: ignore[union-attr]
    assert isinstance(content, bytes)
    return content.decode()


@contextmanager
def mail_server() -> Iterator[MailServer]:
    """Run a mail server for the length of the body."""
    server = MailServer()
    controller = Controller(server, hostname="127.0.0.1", port=server.port)
    controller.start()
    try:
        yield server
    finally:
        controller.stop()


@contextmanager
def silent_server() -> Iterator[int]:
    """Yield the port of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]
