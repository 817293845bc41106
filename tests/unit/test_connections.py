"""The connections of a warehouse: one for each query, or one for all queries of a session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from include.warehouse import Connections


class Opened:
    """Counts connections, each of which is its number, from 1."""

    def __init__(self) -> None:
        self.count = 0
        self.closed: list[int] = []
        self.connections = Connections(self._connect)

    @contextmanager
    def _connect(self) -> Iterator[int]:
        self.count += 1
        number = self.count
        try:
            yield number
        finally:
            self.closed.append(number)

    def use(self) -> int:
        with self.connections.use() as connection:
            return connection


@pytest.fixture
def opened() -> Opened:
    return Opened()


def test_each_use_has_its_own_connection(opened: Opened) -> None:
    assert [opened.use(), opened.use()] == [1, 2]
    assert opened.closed == [1, 2]


def test_the_uses_of_a_session_share_one_and_close_it_at_the_end(opened: Opened) -> None:
    with opened.connections.session():
        assert opened.count == 0
        assert [opened.use(), opened.use()] == [1, 1]
        assert opened.closed == []
    assert opened.closed == [1]
    assert opened.use() == 2


def test_after_an_error_the_session_opens_another_connection(opened: Opened) -> None:
    with opened.connections.session():
        with pytest.raises(OSError), opened.connections.use():
            raise OSError("the connection is cut")
        assert opened.use() == 2
    assert sorted(opened.closed) == [1, 2]


def test_a_session_that_fails_closes_its_connection(opened: Opened) -> None:
    with pytest.raises(ValueError), opened.connections.session():
        assert opened.use() == 1
        raise ValueError
    assert opened.closed == [1]
    assert opened.use() == 2
