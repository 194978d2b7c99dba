"""Reading, work and writing go on at the same time, in order, with few items in memory."""

import gc
import threading
import weakref

import pytest

from medssl.pipeline.overlap import overlapped


class Item:
    def __init__(self, number):
        self.number = number


def test_all_are_written_in_order():
    assert list(overlapped(range(5), lambda one: 2 * one, lambda one: one + 1)) == [1, 3, 5, 7, 9]
    assert list(overlapped([], str, str)) == []


def test_the_next_is_read_and_the_last_is_written_meanwhile():
    all_at_once, met = threading.Barrier(3), []

    def items():
        for number in range(4):
            if number == 2:
                all_at_once.wait(10)
            yield number

    def work(number):
        if number == 1:
            all_at_once.wait(10)
            met.append(number)
        return number

    def write(number):
        if number == 0:
            all_at_once.wait(10)
        return number

    assert list(overlapped(items(), work, write)) == [0, 1, 2, 3]
    assert met == [1]


def test_three_items_are_in_memory_at_most():
    alive, most = weakref.WeakSet(), []

    def items():
        for number in range(12):
            one = Item(number)
            alive.add(one)
            yield one
            del one

    def work(one):
        gc.collect()
        most.append(len(alive))
        return one

    assert list(overlapped(items(), work, lambda one: one.number)) == list(range(12))
    # The generator holds the one that it has just given.
    assert max(most) <= 3


@pytest.mark.parametrize("where", ["read", "work", "write"])
def test_a_failure_comes_after_what_was_done_before(where):
    def fail_at_two(place):
        def act(number):
            if place == where and number == 2:
                raise KeyError(number)
            return number

        return act

    written = []

    def write(number):
        fail_at_two("write")(number)
        written.append(number)
        return number

    with pytest.raises(KeyError):
        list(overlapped(map(fail_at_two("read"), range(5)), fail_at_two("work"), write))
    assert written[:2] == [0, 1]
