"""archives.py: real archives, good, hostile and damaged."""

import gzip
import io
import random
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest import make_folder, pack_tar, pack_zip

from drift_detector_pipeline.console import log
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.raw.archives import extract

SUFFIXES = ("tar", "tgz", "tar.bz2", "tar.xz", "zip")


def pack(folder: Path, archive: Path) -> Path:
    return pack_zip(folder, archive) if archive.suffix == ".zip" else pack_tar(folder, archive)


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_kind_of_archive_gives_back_the_folder(image_folder: Path, tmp_path: Path, suffix: str) -> None:
    extract(pack(image_folder, tmp_path / f"a.{suffix}"), tmp_path / "out")
    assert files_below(tmp_path / "out" / "animals") == files_below(image_folder)


def test_an_archive_of_several_compressed_parts_is_read_to_its_end(image_folder: Path, tmp_path: Path) -> None:
    plain = pack_tar(image_folder, tmp_path / "a.tar").read_bytes()
    middle = len(plain) // 2
    (tmp_path / "a.tgz").write_bytes(gzip.compress(plain[:middle]) + gzip.compress(plain[middle:]))
    extract(tmp_path / "a.tgz", tmp_path / "out")
    assert files_below(tmp_path / "out" / "animals") == files_below(image_folder)


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_files_of_one_name_are_told(image_folder: Path, tmp_path: Path, suffix: str, caplog, monkeypatch) -> None:
    monkeypatch.setattr(log, "propagate", True)
    pack(image_folder, tmp_path / f"a{suffix}")
    extract(tmp_path / f"a{suffix}", tmp_path / "out")
    assert "earlier" not in caplog.text
    if suffix == ".tar":
        with tarfile.open(tmp_path / "a.tar", "a") as opened:
            opened.add(image_folder / "cat" / "1.jpg", "animals/cat/0.png")
    else:
        with zipfile.ZipFile(tmp_path / "a.zip", "a") as opened:
            opened.write(image_folder / "cat" / "1.jpg", "animals/cat/0.png")
    extract(tmp_path / f"a{suffix}", tmp_path / "again")
    assert "1 files have the name of an earlier one, such as animals/cat/0.png" in caplog.text


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_a_name_that_no_file_can_have_is_the_archives_fault(image_folder: Path, tmp_path: Path, suffix: str) -> None:
    archive = tmp_path / f"a{suffix}"
    if suffix == ".tar":
        with tarfile.open(archive, "w") as opened:
            opened.add(image_folder / "cat" / "0.png", f"{'c' * 300}/0.png")
    else:
        with zipfile.ZipFile(archive, "w") as opened:
            opened.write(image_folder / "cat" / "0.png", f"{'c' * 300}/0.png")
    with pytest.raises(DataError, match=rf"a\{suffix}: not a complete .*File name too long"):
        extract(archive, tmp_path / "out")


def tar_of(archive: Path, names: list[str]) -> Path:
    with tarfile.open(archive, "w:gz") as opened:
        for name in names:
            opened.addfile(tarfile.TarInfo(name))
    return archive


def zip_of(archive: Path, names: list[str]) -> Path:
    with zipfile.ZipFile(archive, "w") as opened:
        for name in names:
            opened.writestr(name, "")
    return archive


def hostile_tar(archive: Path, name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Path:
    with tarfile.open(archive, "w:gz") as opened:
        member = tarfile.TarInfo(name)
        member.type, member.linkname, member.size = kind, link, 4 if kind == tarfile.REGTYPE else 0
        opened.addfile(member, io.BytesIO(b"evil"))
    return archive


def hostile_zip(archive: Path, name: str, mode: int = 0) -> Path:
    with zipfile.ZipFile(archive, "w") as opened:
        info = zipfile.ZipInfo(name)
        info.create_system, info.external_attr = 3, mode << 16
        opened.writestr(info, "/etc/passwd")
    return archive


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/../x", "..\\x", "a\\..\\..\\x", "../out.txt/x"])
@pytest.mark.parametrize("make", [hostile_tar, hostile_zip])
@pytest.mark.parametrize("has_filter", [True, False])
def test_a_path_that_climbs_out_is_refused_and_nothing_is_written(
    tmp_path: Path, name: str, make, has_filter: bool, monkeypatch
) -> None:
    if not has_filter:  # as in Python 3.11.0 to 3.11.3
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    with pytest.raises(DataError, match="climbs out of the target folder; nothing of this archive is used"):
        extract(make(tmp_path / "a", name), tmp_path / "deep" / "out")
    assert list(files_below(tmp_path)) == ["a"]


@pytest.mark.parametrize(
    ("name", "place"), [("{outside}/x", "{outside}/x"), ("//x", "x"), ("a/../x", "x"), ("cat\\1.png", "cat/1.png")]
)
@pytest.mark.parametrize("make", [hostile_tar, hostile_zip])
def test_any_other_path_lands_below_the_target(tmp_path: Path, name: str, place: str, make) -> None:
    """An absolute one, too, as with `tar` itself; and what a Windows program wrote with backslashes."""
    out = tmp_path / "deep" / "out"
    extract(make(tmp_path / "a", name.format(outside=tmp_path)), out)
    assert [out / path for path in files_below(out)] == [out / place.format(outside=tmp_path).lstrip("/")]
    assert len(files_below(tmp_path)) == 2


@pytest.mark.parametrize("names", [["cat", "cat/1.png"], ["cat/1.png", "cat"], ["cat/.."], ["."]])
@pytest.mark.parametrize("pack_names", [tar_of, zip_of])
def test_a_file_where_a_folder_is_needed_is_refused(tmp_path: Path, names: list[str], pack_names) -> None:
    with pytest.raises(
        DataError, match=r"a: not a complete tar or zip archive \(.*(Is a directory|Not a directory|File exists)"
    ):
        extract(pack_names(tmp_path / "a", names), tmp_path / "out")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE], ids=str
)
@pytest.mark.parametrize("link", ["/etc/passwd", "2.png"])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes, link: str) -> None:
    """Also a link that stays inside, which the `data` filter would let pass."""
    archive = hostile_tar(tmp_path / "a.tgz", "cat/1.png", kind, link)
    with pytest.raises(DataError, match=r"'cat/1.png' is a link or a device"):
        extract(archive, tmp_path / "out")
    assert files_below(tmp_path).keys() == {"a.tgz"}


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices_in_a_zip_are_refused(tmp_path: Path, kind: int) -> None:
    archive = hostile_zip(tmp_path / "a.zip", "cat/1.png", kind | 0o777)
    with pytest.raises(DataError, match=r"'cat/1.png' is a link or a device"):
        extract(archive, tmp_path / "out")
    assert files_below(tmp_path).keys() == {"a.zip"}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_archive_cut_anywhere_is_refused(tmp_path: Path, suffix: str) -> None:
    """Also between two files, where Python's own tarfile sees a whole archive."""
    whole = pack(make_folder(tmp_path / "few", 2), tmp_path / f"a.{suffix}").read_bytes()
    end = whole.rstrip(b"\0") if suffix == "tar" else whole  # the zeros after the last file may be of any length
    last = (len(end) + 511) // 512 * 512 if suffix == "tar" else len(whole) - 1
    cuts = {*random.Random(0).sample(range(last), 40), *range(0, last, 512 if suffix == "tar" else last), last}
    for cut in sorted(cuts):
        (tmp_path / "cut").write_bytes(whole[:cut])
        with pytest.raises(DataError, match="not a complete tar or zip archive"):
            extract(tmp_path / "cut", tmp_path / "out")


def test_a_zip_whose_table_lies_before_its_first_byte_is_damaged(tmp_path: Path) -> None:
    """Found by tests/fuzz_bytes.py: the seek to such a place fails as those of a file system do."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as packed:
        packed.writestr("a/b", b"c")
    content = bytearray(whole.getvalue())
    content[-6:-2] = (1 << 16).to_bytes(4, "little")  # where the table is said to be: further on than it is
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match="not a complete tar or zip archive"):
        extract(tmp_path / "a.zip", tmp_path / "out")


def test_a_zip_with_a_member_without_a_name_is_damaged(tmp_path: Path) -> None:
    """Found by tests/fuzz_bytes.py: Python looks for the last letter of the name."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr(zipfile.ZipInfo("\0"), b"c")
    with pytest.raises(DataError):
        extract(tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize("suffix", ["tgz", "tar.bz2", "tar.xz", "zip"])
def test_a_flipped_bit_in_the_data_is_noticed(image_folder: Path, tmp_path: Path, suffix: str) -> None:
    whole = pack(image_folder, tmp_path / f"a.{suffix}").read_bytes()
    for place in (len(whole) // 3, len(whole) // 2):
        damaged = bytearray(whole)
        damaged[place] ^= 4
        (tmp_path / "damaged").write_bytes(damaged)
        with pytest.raises(DataError, match="not a complete"):
            extract(tmp_path / "damaged", tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"hello, I am a text\n" * 100, b"PK", b"\x1f\x8b", bytes(5000)])
def test_what_is_no_archive_at_all_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tgz").write_bytes(content)
    if content == bytes(5000):
        extract(tmp_path / "a.tgz", tmp_path / "out")  # a tar without members
        assert files_below(tmp_path / "out") == {}
        return
    with pytest.raises(DataError, match=r"a\.tgz: not a complete"):
        extract(tmp_path / "a.tgz", tmp_path / "out")


def test_an_encrypted_zip_says_so(image_zip: Path, tmp_path: Path) -> None:
    content = bytearray(image_zip.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # set the bit that says "encrypted" everywhere
        place = content.find(signature)
        while place >= 0:
            content[place + flags] |= 1
            place = content.find(signature, place + 4)
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match="encrypted"):
        extract(tmp_path / "a.zip", tmp_path / "out")


def test_a_tar_that_ends_with_a_zip_is_still_a_tar(image_zip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "outer"
    folder.mkdir()
    shutil.copy(image_zip, folder / "inner.zip")
    extract(pack_tar(folder, tmp_path / "a.tar"), tmp_path / "out")
    assert files_below(tmp_path / "out").keys() == {"outer/inner.zip"}


def growing(archive: Path, files: int, size: int, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """An archive of `files` files of `size` zeros each; the suffix says the kind."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w", method) as opened:
            for number in range(files):
                with opened.open(f"cat/{number}.bmp", "w") as member:
                    for start in range(0, size, 1 << 20):
                        member.write(bytes(min(1 << 20, size - start)))
        return archive
    mode = {".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}[archive.suffix]
    with tarfile.open(archive, mode) as opened:  # type: ignore[call-overload]
        for number in range(files):
            header = tarfile.TarInfo(f"cat/{number}.bmp")
            header.size = size
            opened.addfile(header, io.BytesIO(bytes(size)))
    return archive


@pytest.mark.parametrize(("files", "size"), [(3, 600_000), (1, 2_000_000), (400, 0)], ids=["several", "one", "empty"])
@pytest.mark.parametrize("suffix", ["tgz", "tar.bz2", "tar.xz", "zip"])
def test_what_an_archive_may_grow_to_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, files: int, size: int
) -> None:
    """Also by files without content, of which each takes a block of the disk."""
    archive = growing(tmp_path / f"a.{suffix}", files, size)
    limit = archive.stat().st_size * 2 if suffix == "zip" and not size else 1_500_000
    monkeypatch.setattr("drift_detector_pipeline.raw.archives.ANY_SIZE", limit)
    monkeypatch.setattr("drift_detector_pipeline.raw.archives.MOST_GROWTH", 2)
    with pytest.raises(DataError, match=r"grows to more than 2 times its size.*unpack it yourself and name the folder"):
        extract(archive, tmp_path / "out")
    written = list(files_below(tmp_path / "out").values())
    assert sum(map(len, written)) <= limit and len(written) <= limit / 4096 + 1
    monkeypatch.setattr("drift_detector_pipeline.raw.archives.ANY_SIZE", 2_500_000)
    extract(archive, tmp_path / "whole")
    assert len(files_below(tmp_path / "whole")) == files


def test_a_file_that_is_mostly_a_hole_counts_as_large_as_it_gets(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    with (tmp_path / "cat" / "1.bmp").open("wb") as file:
        file.truncate(1 << 40)
    subprocess.run(["tar", "-czSf", tmp_path / "a.tgz", "-C", tmp_path, "cat"], check=True)
    (tmp_path / "cat" / "1.bmp").unlink()
    with pytest.raises(DataError, match="grows to more than"):
        extract(tmp_path / "a.tgz", tmp_path / "out")
    shutil.rmtree(tmp_path / "out")


def test_a_long_header_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tgz", "w:gz", format=tarfile.PAX_FORMAT) as opened:
        member = tarfile.TarInfo("cat/1.png")
        member.pax_headers = {"comment": "a" * 2_000_000}
        opened.addfile(member)
    with pytest.raises(DataError, match=r"a header of 2,000,\d+ bytes"):
        extract(tmp_path / "a.tgz", tmp_path / "out")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_whose_files_can_only_be_held_whole_is_refused(tmp_path: Path, method: int) -> None:
    with pytest.raises(DataError, match=r"(bzip2|LZMA) inside a zip; pack it as any program does"):
        extract(growing(tmp_path / "a.zip", 1, 1000, method), tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tgz", "zip"])
@pytest.mark.parametrize("files", [40, 1])
def test_extracting_needs_no_memory_for_the_whole_archive_nor_for_a_file(tmp_path: Path, kind: str, files: int) -> None:
    archive = growing(tmp_path / f"a.{kind}", files, 200_000_000 // files)
    code = (
        "import sys; from pathlib import Path; from drift_detector_pipeline.raw.archives import extract\n"
        "extract(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"  # getrusage counts the parent, too
    )
    command = [sys.executable, "-c", code, str(archive), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    shutil.rmtree(tmp_path / "out")
    assert int(done.stdout) < 150_000  # kB; the files hold 200,000


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html><html><title>Sign in</title></html>", "a web page"),
        (b"\xef\xbb\xbf\r\n  <HTML>" + b" " * 5000, "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n", "a Git LFS pointer"),
        (b"outs:\n- md5: ab\n", "a DVC pointer"),
        (b'{"error": "quota exceeded"}', "JSON"),
        (b"7z\xbc\xaf\x27\x1c\0\4", "a 7z archive"),
        (b"7z\xbc\xaf\x27\x1c\0\4abcd" + bytes(7), "a 7z archive"),  # as they are: an offset below 16 million
        (b"Rar!\x1a\x07\1\0", "a RAR archive"),
        (b"", "empty"),
        (b"404: Not Found", "a text that begins '404: Not Found'"),
        ("Kontingent überschritten\n".encode() * 100, "a text that begins 'Kontingent"),
        (b"%PDF-1.4\n", "a PDF"),
        (b"\x89PNG\r\n\x1a\n", "a single image"),
        (b"\x04\x22\x4d\x18\x64", "compressed with LZ4"),
    ],
)
def test_what_lies_under_the_name_of_an_archive_is_called_by_its_own(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.zip: not a complete tar or zip archive \(it is {said}") as error:
        extract(tmp_path / "a.zip", tmp_path / "out")
    assert "header" not in str(error.value)


def test_a_tar_whose_first_name_looks_like_a_web_page_is_a_tar(tmp_path: Path) -> None:
    extract(tar_of(tmp_path / "a.tgz", ["<cat>/1.png"]), tmp_path / "out")
    with tarfile.open(tmp_path / "b.tar", "w") as opened:
        opened.addfile(tarfile.TarInfo("{cat}/1.png"))
    extract(tmp_path / "b.tar", tmp_path / "out")
    assert files_below(tmp_path / "out").keys() == {"<cat>/1.png", "{cat}/1.png"}


def unmarked_zip(archive: Path, name: bytes) -> Path:
    """A zip whose one name is these bytes, without the flag that says UTF-8."""
    content = zip_of(archive, ["x" * len(name)]).read_bytes()
    archive.write_bytes(content.replace(b"x" * len(name), name))
    return archive


@pytest.mark.parametrize("name", ["café/1.png", "日本/1.png", "cafe\u0301/ß.png"])
def test_names_of_a_zip_that_are_utf8_without_saying_so_are_read_right(tmp_path: Path, name: str, caplog) -> None:
    extract(unmarked_zip(tmp_path / "a.zip", name.encode()), tmp_path / "out")
    assert files_below(tmp_path / "out").keys() == {name} and not caplog.records


@pytest.mark.parametrize("encoding", ["gbk", "shift_jis", "cp866", "cp1252"])
def test_names_of_a_zip_in_an_unknown_encoding_are_warned_of(tmp_path: Path, encoding: str, caplog) -> None:
    name = {"cp866": "кот", "cp1252": "café"}.get(encoding, "日本") + "/1.png"
    extract(unmarked_zip(tmp_path / "a.zip", name.encode(encoding)), tmp_path / "out")
    assert "a.zip: does not say how its names are written" in caplog.text
    assert len(files_below(tmp_path / "out")) == 1


@pytest.mark.parametrize("encoding", ["latin-1", "shift_jis"])
def test_names_of_a_tar_that_are_no_utf8_are_warned_of(tmp_path: Path, encoding: str, caplog) -> None:
    name = {"latin-1": "café"}.get(encoding, "日本") + "/1.png"
    with tarfile.open(tmp_path / "a.tar", "w", encoding=encoding, format=tarfile.GNU_FORMAT) as opened:
        opened.addfile(tarfile.TarInfo(name))
    extract(tmp_path / "a.tar", tmp_path / "out")
    assert "1 of its names are not UTF-8, such as" in caplog.text and "unpack it with the program" in caplog.text


def test_a_climbing_path_is_refused_also_behind_an_unmarked_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="climbs out"):
        extract(unmarked_zip(tmp_path / "a.zip", "é/../../1.png".encode()), tmp_path / "out")
