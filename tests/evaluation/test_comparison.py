import numpy as np

from stages.evaluation.comparison import distinct


def test_equal_pictures_are_known_as_one_kind() -> None:
    pictures = np.zeros((5, 4, 4, 3), np.uint8)
    pictures[1], pictures[3], pictures[4] = 7, 7, 9
    rows, places = distinct(pictures)
    assert rows.tolist() == [0, 1, 4] and places.tolist() == [0, 1, 0, 1, 2]
    assert np.array_equal(pictures[rows][places], pictures)
