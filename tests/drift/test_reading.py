"""Windows larger than what is held at a time: the same answers, in bounded memory."""

import tracemalloc

import numpy as np
import pytest
from PIL import Image
from small_world import model, small_detector, world
from threadpoolctl import ThreadpoolController

from drift_detector_pipeline.drift.detecting import joined_rows
from drift_detector_pipeline.drift.preparation import CHUNK, Album, Preparation
from drift_detector_pipeline.drift.reading import LOOKED_AT_AGAIN, read_chunks, some_of
from drift_detector_pipeline.drift.reference import one_blas_thread
from drift_detector_pipeline.errors import DataError

SIDE_PX = world(1, 0)[0].shape[1]
PREPARATION = Preparation(SIDE_PX, SIDE_PX)


@pytest.fixture(scope="module")
def detector():
    return small_detector()


def in_chunks(images):
    return (images[start : start + CHUNK] for start in range(0, len(images), CHUNK))


def files(folder, images):
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:05d}.bmp")
    return sorted(folder.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("factor", [1.0, 0.8])
def test_a_window_of_several_chunks_is_judged_as_a_whole_one(detector, factor):
    images = (world(2 * CHUNK + 300, 5)[0] * factor).astype(np.uint8)
    images[-3:] = images[:3]  # copies, two chunks away
    parameters = detector.reference.learned.parameters
    whole, parts = (read_chunks(given, model, parameters, 16) for given in ([images], in_chunks(images)))
    np.testing.assert_allclose(parts.scores, whole.scores, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(parts.predicted, whole.predicted)
    assert parts.copies == whole.copies == 3
    verdict, expected = detector.check(images), detector.check_scores(whole.scores, whole.predicted)
    assert (verdict.level == "quiet") == (factor == 1)
    assert (verdict.p, verdict.p_values, verdict.copies) == (expected.p, expected.p_values, 3)
    assert verdict.carriers == expected.carriers


@pytest.mark.parametrize("factor", [1.0, 0.8])
def test_rows_that_others_have_read_give_the_verdict_of_the_images_themselves(detector, factor):
    images = (world(90, 8)[0] * factor).astype(np.uint8)
    images[-3:] = images[:3]
    rows = joined_rows([detector.rows_of(images[:50]), detector.rows_of(images[50:])])
    verdict = detector.check_rows(rows, 3, detector.open(images))
    assert detector.words.as_json(verdict) == detector.words.as_json(detector.check(images))
    assert (verdict.level == "quiet") == (factor == 1)
    assert detector.check_rows(joined_rows([]), 0, detector.open(images[:0])).level == "too few images"


def test_a_second_look_at_a_large_window_is_at_images_from_all_of_it(detector):
    images = world(3 * CHUNK, 6)[0]
    parameters = detector.reference.learned.parameters
    reading = read_chunks(in_chunks(images), model, parameters, 16)
    assert reading.signals is None  # of so many they would be most of what is kept
    asked = list[list[int]]()
    crops, signals = some_of(reading, lambda places: asked.append(places) or images[places], model)
    assert len(set(asked[0])) == LOOKED_AT_AGAIN == len(crops) == len(signals.logits)
    assert np.histogram(asked[0], 3, (0, len(images)))[0].min() > LOOKED_AT_AGAIN / 4


def test_all_images_of_a_window_of_one_chunk_are_looked_at_again(detector):
    images = world(40, 7)[0]
    reading = read_chunks([images], model, detector.reference.learned.parameters, 16)
    crops, signals = some_of(reading, lambda places: images[places], model)
    assert signals is reading.signals
    np.testing.assert_array_equal(crops, images)


def test_images_are_found_again_by_their_places_among_the_readable(tmp_path):
    images = world(CHUNK + 20, 8)[0]
    paths = files(tmp_path, images)
    for broken in (0, 500):
        paths[broken].write_bytes(b"no image")
    album = Album(paths, PREPARATION)
    readable = np.delete(images, [0, 500], axis=0)
    sizes = [len(chunk) for chunk in album.chunks()]
    assert sizes == [CHUNK, 18] and len(album.unreadable) == 2 and len(album.names) == len(readable)
    np.testing.assert_array_equal(album.crops_of([0, 498, 499, 1041]), readable[[0, 498, 499, 1041]])
    paths[1].unlink()
    with pytest.raises(DataError, match=r"00001\.bmp: .*read a moment ago"):
        album.crops_of([0])


def test_a_few_images_are_kept_and_not_opened_twice(tmp_path):
    images = world(20, 9)[0]
    album = Album(files(tmp_path, images), PREPARATION)
    assert [len(chunk) for chunk in album.chunks()] == [20]
    for path in tmp_path.iterdir():
        path.unlink()
    np.testing.assert_array_equal(album.crops_of([3, 19]), images[[3, 19]])


@pytest.mark.slow
def test_four_times_the_images_take_hardly_more_memory(detector):
    """As one array, with labellings of floats, they took hundreds of megabytes more."""
    images = np.broadcast_to(world(1, 10)[0], (20_000, SIDE_PX, SIDE_PX, 3))
    peaks = list[float]()
    for count in (5_000, 20_000):
        tracemalloc.start()
        detector.check(images[:count])
        peaks.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 50, peaks


def test_whoever_leaves_first_gives_no_threads_back_to_others_who_still_count_on_one():
    """Requests and verdicts of a service compute side by side, and the bits must not depend on who ends first."""
    libraries = ThreadpoolController()

    def threads():
        return {one["num_threads"] for one in libraries.select(user_api="blas").info()}

    with libraries.limit(limits=2, user_api="blas"):
        first, second = one_blas_thread(), one_blas_thread()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert threads() == {1}
        second.__exit__(None, None, None)
        assert threads() == {2}
