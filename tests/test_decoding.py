"""Slots of a row."""

from spacy_universalner.decoding import Room


def test_slots_that_were_given_back_are_taken_first():
    room = Room(3)
    assert [room.take(), room.take()] == [3, 4]
    room.free.append(3)
    assert [room.take(), room.take()] == [3, 5]
    assert room.used == 6
