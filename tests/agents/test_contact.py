"""The loss of Kafka and its return are each noticed once."""

from __future__ import annotations

from stream.agents.contact import LOST_AFTER_S, Contact


def test_a_fetch_that_takes_its_time_is_no_loss() -> None:
    contact = Contact()
    assert contact.look(LOST_AFTER_S - 0.1, 95.0, 100.0) is None
    assert not contact.is_lost


def test_loss_and_return_are_told_once_with_how_long_it_was() -> None:
    contact = Contact()
    assert contact.look(6.0, 93.0, 100.0) == 6.0
    assert contact.is_lost
    assert contact.look(7.0, 93.0, 101.0) is None
    assert contact.look(0.1, 154.0, 155.0) == 60.0
    assert not contact.is_lost
    assert contact.look(0.1, 155.9, 156.0) is None


def test_partitions_that_are_given_up_meanwhile_are_no_return() -> None:
    """Nothing is asked for within a rebalance, and so nothing waits."""
    contact = Contact()
    contact.look(6.0, 93.0, 100.0)
    assert contact.look(0.0, 93.0, 110.0) is None
    assert contact.is_lost
    assert contact.look(0.0, 120.0, 121.0) == 26.0
