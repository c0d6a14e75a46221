"""Crops in memory: the newest of each source, in bounded memory, for a second look."""

import threading

import numpy as np
import pytest
from answered import rows_of
from small_world import model, world

from drift_detector_pipeline.drift.detector import DriftDetector
from drift_detector_pipeline.serving.crops import Crops, look_at_crops
from drift_detector_pipeline.serving.rows import StoredRow

CROP = np.zeros((16, 16, 3), np.uint8)  # 768 bytes


def stored(number, source=""):
    return StoredRow(number, 0.0, 1, f"r{number}", source, bytes([number]) * 32, 0, 0.5, 1.0, b"")


def numbers(crops, source=""):
    missing = crops.of([stored(number, source) for number in range(256)]).missing
    return [number for number in range(256) if f"r{number}" not in missing]


def test_crops_are_found_by_source_and_image():
    crops = Crops(10**6)
    for number in range(5):
        crops.put("door", bytes([number]) * 32, CROP + number)
    found = crops.of([stored(3, "door"), stored(7, "door"), stored(1, "door"), stored(1, "gate")])
    assert found.crops[:, 0, 0, 0].tolist() == [3, 1] and found.crops.shape == (2, 16, 16, 3)
    assert found.missing == ["r7", "r1"]
    assert len(Crops(10).of([stored(1)]).crops) == 0


def test_memory_is_bounded_and_the_newest_stay():
    crops = Crops(10 * CROP.nbytes)
    for number in range(100):
        crops.put("", bytes([number]) * 32, CROP)
        assert crops.bytes <= 10 * CROP.nbytes
    assert numbers(crops) == list(range(90, 100)) and len(crops) == 10


def test_a_busy_source_does_not_cost_a_slow_one_its_crops():
    crops = Crops(10 * CROP.nbytes)
    for number in range(4):
        crops.put("slow", bytes([number]) * 32, CROP)
    for number in range(200):
        crops.put("busy", bytes([number]) * 32, CROP)
    assert numbers(crops, "slow") == [0, 1, 2, 3]
    assert numbers(crops, "busy") == list(range(194, 200))


def test_an_image_that_comes_again_is_kept_once_and_is_new():
    crops = Crops(3 * CROP.nbytes)
    for number in (0, 1, 2, 0, 3):
        crops.put("", bytes([number]) * 32, CROP)
    assert numbers(crops) == [0, 2, 3] and crops.bytes == 3 * CROP.nbytes


def test_a_crop_larger_than_all_the_room_is_not_kept():
    crops = Crops(CROP.nbytes - 1)
    crops.put("", b"1" * 32, CROP)
    assert (len(crops), crops.bytes) == (0, 0)


def test_threads_do_not_lose_count():
    crops = Crops(50 * CROP.nbytes)

    def put(source):
        for number in range(200):
            crops.put(source, bytes([number]) * 32, CROP)
            crops.of([stored(number, source)])

    threads = [threading.Thread(target=put, args=[f"camera {number % 3}"]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert crops.bytes == len(crops) * CROP.nbytes == 50 * CROP.nbytes


@pytest.mark.parametrize(("there", "enough"), [(64, True), (20, True), (15, False), (0, False)])
def test_a_part_of_a_window_is_enough_for_a_second_look_and_too_few_are_not(small_detector_folder, there, enough):
    """Of services behind one log each has the crops of the requests that came to it."""
    detector = DriftDetector.load(small_detector_folder, model)
    images, crops = world(64, 2)[0] // 2, Crops(10**6)
    rows = rows_of(images, detector)
    for row, crop in list(zip(rows, images, strict=True))[:there]:
        crops.put("", row.image_sha256, crop)
    asked = [StoredRow(number, row.at, 1, *row[1:]) for number, row in enumerate(rows)]
    found = look_at_crops(crops, detector)(asked, True)
    assert (found is not None) == enough
    if found is not None:
        known = found.accuracy
        assert known.by_copy and 0 <= known.low <= known.accuracy <= known.high <= 1
