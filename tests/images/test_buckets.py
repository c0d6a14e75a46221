"""Images in a bucket, on a server of S3's protocol of its own: listed and fetched as files of a folder are."""

import pytest
from conftest import make_folder, pack_tar

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.images.named_files import image_files, leads_somewhere

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # the client of S3 warns of its own event loop


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """`photos` with loose/, six images and clutter, and shards/000.tar of the same; and the folder they are from."""
    moto = pytest.importorskip("moto.server", reason="moto is installed for developing, not in the image")
    import s3fs

    folder = make_folder(tmp_path_factory.mktemp("photos") / "loose", 2)
    (folder / "cat" / ".hidden.png").touch()
    server = moto.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
        patch.setenv("AWS_ACCESS_KEY_ID", "x")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "y")
        patch.setenv("AWS_REGION", "us-east-1")
        files = s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)
        files.mkdir("photos")
        files.put(str(folder), "photos/loose", recursive=True)
        files.put(str(pack_tar(folder, folder.parent / "000.tar")), "photos/shards/000.tar")
        yield folder
    server.stop()


def content_of(*words):
    """Each file's name below what was named, and its bytes."""
    with image_files(words) as found:
        return [(image.name.partition("loose/")[2], image.file.read_bytes()) for image in found]


def test_a_folder_its_copy_in_a_bucket_and_a_shard_there_hold_the_same_files_in_the_same_order(bucket):
    expected = content_of(str(bucket))
    assert len(expected) == 6
    assert content_of("s3://photos/loose") == content_of("s3://photos/loose/") == expected
    assert content_of("s3://photos/shards") == expected


def test_objects_are_named_one_by_one_or_by_a_pattern(bucket):
    with image_files(["s3://photos/loose/*/0.png"]) as found:
        names = [image.name for image in found]
    assert names == [f"s3://photos/loose/{name}/0.png" for name in ("cat", "dog", "über fish")]
    assert [name for name, _ in content_of("s3://photos/loose/cat/0.png")] == ["cat/0.png"]
    assert leads_somewhere("s3://photos/loose") and not leads_somewhere("s3://photos/nosuch")


def test_a_bucket_that_is_not_there_is_named_with_what_may_be_wrong(bucket):
    with pytest.raises(DataError, match=r"s3://nosuch/x/0\.png: .*bucket does not exist; .*AWS_ENDPOINT_URL"):
        content_of("s3://nosuch/x/0.png")
