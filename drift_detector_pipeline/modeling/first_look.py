"""What a network that looks before it learns is shown: training images from all over the data, as in inference.

In: a network and packed images. Out: nothing; the network has taken what it needs. Called by session.py, before weights
are learned or continued.
"""

from drift_detector_pipeline.images.transforms import normalize
from drift_detector_pipeline.modeling.loaders import batch_of
from drift_detector_pipeline.networks.models import Network
from drift_detector_pipeline.processed.packing import PackedImages
from drift_detector_pipeline.settings import Data
from drift_detector_pipeline.tasks.task import Task

SHOWN = 5_000  # images, about; of clips frames


def look_first(network: Network, images: PackedImages, data: Data, task: Task) -> None:
    """Show a network that `looks_first` normalised images, float32 (N, 3, S, S); others look at none."""
    if not getattr(network.module, "looks_first", False):
        return
    how = task.look(data, data.img_size)
    indices = images.indices("train", data.limit)
    indices = indices[:: max(1, len(indices) * (how.frames or 1) // SHOWN)]
    crops = [task.view(images[int(index)], None, how, None)[0].numpy() for index in indices]
    shown = batch_of(crops).images.flatten(0, -4)  # frames of clips are images here
    network.module.look_at(normalize(shown, network.mean, network.std))  # type: ignore[operator]
