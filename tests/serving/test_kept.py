"""Images that are kept: whole, under their hash, the newest of them, and never at the cost of an answer."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time

import httpx
import pytest
from conftest import ROOT
from running import running
from small_artefact import png, world

from drift_detector_pipeline.serving import kept
from drift_detector_pipeline.serving.kept import KeptImages, kept_path


def image(number, size=4096):
    """Bytes that begin as a JPEG does, and their hash."""
    content = b"\xff\xd8\xff" + number.to_bytes(4, "big") + os.urandom(size - 7)
    return hashlib.sha256(content).digest(), content


def lying_in(folder):
    return {path.stem: path for path in folder.rglob("*") if path.is_file()}


def disk_bytes(folder):
    return sum(max(path.stat().st_size, 512 * path.stat().st_blocks) for path in lying_in(folder).values())


def test_what_was_put_lies_under_its_hash_with_the_ending_of_its_format(tmp_path) -> None:
    images = KeptImages(tmp_path / "kept", 10**9)
    given = [image(number) for number in range(20)] + [
        (hashlib.sha256(one).digest(), one) for one in [png(world(1, 0)[0][0])]
    ]
    for sha256, content in given:
        images.put(sha256, content)
    images.close()
    found = lying_in(tmp_path / "kept")
    assert {hashlib.sha256(path.read_bytes()).hexdigest() for path in found.values()} == set(found)
    assert set(found) == {sha256.hex() for sha256, _ in given}
    assert sorted({path.suffix for path in found.values()}) == [".jpg", ".png"]
    assert kept_path(tmp_path / "kept", given[0][0].hex(), ".jpg").exists()


def test_the_folder_stays_within_its_limit_and_keeps_the_newest(tmp_path) -> None:
    limit = 64 * 4096
    given = [image(number) for number in range(300)]
    images = KeptImages(tmp_path, limit)
    for number, (sha256, content) in enumerate(given):
        images.put(sha256, content)
        if number % 50 == 49:
            while images._waiting_bytes:
                time.sleep(0.01)
            assert disk_bytes(tmp_path) <= limit
    images.close()
    found = lying_in(tmp_path)
    assert disk_bytes(tmp_path) <= limit and len(found) >= 40
    assert set(found) <= {sha256.hex() for sha256, _ in given[-70:]}


def test_images_go_when_the_rows_of_the_log_may_where_days_are_set(tmp_path) -> None:
    KeptImages(tmp_path / "nothing yet", 10**9, keep_days=2.0).close()
    images, (old, new) = KeptImages(tmp_path, 10**9), (image(0), image(1))
    for one in (old, new):
        images.put(*one)
    images.close()
    os.utime(kept_path(tmp_path, old[0].hex(), ".jpg"), (time.time() - 3 * 86_400,) * 2)
    KeptImages(tmp_path, 10**9, keep_days=2.0).close()
    assert set(lying_in(tmp_path)) == {new[0].hex()}


def test_an_image_that_comes_again_is_among_the_newest(tmp_path) -> None:
    first, limit = image(0), 64 * 4096
    images = KeptImages(tmp_path, limit)
    for number in range(1, 200):
        if number % 20 == 1:
            images.put(*first)
        images.put(*image(number))
    images.close()
    assert first[0].hex() in lying_in(tmp_path)


def test_two_services_share_a_folder(tmp_path) -> None:
    limit = 128 * 4096
    both = [KeptImages(tmp_path, limit) for _ in range(2)]
    for number in range(300):
        both[number % 2].put(*image(number))
    for images in both:
        images.close()
    assert [images.dropped for images in both] == [0, 0]
    assert disk_bytes(tmp_path) <= limit and len(lying_in(tmp_path)) >= 60


def test_a_slow_disk_costs_images_and_no_time(tmp_path, monkeypatch) -> None:
    go_on = threading.Event()
    write = KeptImages._write
    monkeypatch.setattr(KeptImages, "_write", lambda *given: go_on.wait(30) and write(*given))
    monkeypatch.setattr(kept, "WAITING_BYTES", 10 * 4096)
    images = KeptImages(tmp_path, 10**9)
    given = [image(number) for number in range(100)]
    begun = time.perf_counter()
    for one in given:
        images.put(*one)
    assert time.perf_counter() - begun < 0.5
    go_on.set()
    images.close()
    assert images.dropped == 90 and len(lying_in(tmp_path)) == 10


def test_a_folder_that_cannot_be_written_is_said_once_and_counted(tmp_path, caplog) -> None:
    (tmp_path / "file").write_text("no folder")
    images = KeptImages(tmp_path / "file", 10**9)
    for number in range(5):
        images.put(*image(number))
    images.close()
    assert images.dropped == 5
    assert [record.message for record in caplog.records if "cannot be kept" in record.message] == [
        f"{tmp_path / 'file'}: images cannot be kept for now: Not a directory"
    ]


def test_an_image_that_is_large_beside_the_limit_is_said_and_the_others_are_kept(tmp_path, caplog) -> None:
    images = KeptImages(tmp_path, 64 * 4096)
    images.put(*image(1, size=5 * 4096))
    images.put(*image(2))
    images.close()
    assert images.dropped == 1 and len(lying_in(tmp_path)) == 1
    assert "one is larger than a 16th of serving.keep_images_gb" in caplog.text


def test_nothing_half_written_is_left_by_a_kill(tmp_path) -> None:
    code = f"""
import hashlib, os
from pathlib import Path
from drift_detector_pipeline.serving.kept import KeptImages
images = KeptImages(Path({str(tmp_path)!r}), 10**9)
print("ready", flush=True)
while True:
    content = bytes.fromhex("ffd8ff") + os.urandom(300_000)
    images.put(hashlib.sha256(content).digest(), content)
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE) as started:
        assert started.stdout.readline() == b"ready\n"
        while len(lying_in(tmp_path)) < 20:
            time.sleep(0.01)
        started.send_signal(signal.SIGKILL)
    whole = {name: path for name, path in lying_in(tmp_path).items() if not path.name.startswith(".")}
    assert len(whole) >= 20
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == name for name, path in whole.items())
    for path in set(lying_in(tmp_path).values()) - set(whole.values()):
        os.utime(path, (0, 0))
    images = KeptImages(tmp_path, 10**9)
    images.put(*image(1))
    images.close()
    assert [path for path in lying_in(tmp_path).values() if path.name.startswith(".")] == []


@pytest.mark.parametrize("keeps", [True, False])
def test_a_service_keeps_what_it_answered_if_it_is_told_to(keeps, models, tmp_path) -> None:
    contents = [png(pixels) for pixels in world(5, 7)[0]]
    folder = tmp_path / "kept"
    with running(models / "first", tmp_path, keep_images=folder if keeps else None) as service:
        for content in contents[:3]:
            httpx.post(f"{service.address}/predict", content=content).raise_for_status()
        form = [("images", ("a.png", content)) for content in contents[3:]]
        httpx.post(f"{service.address}/predict", files=form).raise_for_status()
        assert httpx.post(f"{service.address}/predict", content=b"no image").status_code == 415
        said = httpx.get(f"{service.address}/metrics").text
    wanted = {hashlib.sha256(content).hexdigest() for content in contents}
    assert set(lying_in(folder)) == (wanted if keeps else set())
    assert ("drift_images_not_kept_total 0" in said) == keeps
