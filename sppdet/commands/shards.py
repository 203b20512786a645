"""Detections of a shard of the images that a run is evaluated on."""

from dataclasses import replace
from os import PathLike

from sppdet.commands.following import command_line, data_options
from sppdet.commands.summary import Summary
from sppdet.config.data import DataConfig
from sppdet.config.network import Device, Precision
from sppdet.config.shard import Shard
from sppdet.wording import counted


def detect_shard(
    run: str | PathLike[str],
    shard: Shard,
    data: DataConfig,
    proposals: str | None,
    output: str | None,
    device: Device,
    precision: Precision,
    workers: int,
) -> Summary:
    """Write the detections in the images of a shard to OUTPUT, or RUN/SPLIT-shards.

    Those of each image are in a cache as soon as they are made, from which the same command goes on.
    """
    from sppdet import __version__
    from sppdet.commands.inputs import classes_of, data_of_run, load_run, origin_of, read_data
    from sppdet.data.results.files import coco_lines
    from sppdet.data.results.shards import write_shard
    from sppdet.files.atomic import hash_tensors, load_cached, save_cached
    from sppdet.files.durable import cache_folder
    from sppdet.files.owned import OwnedFolder
    from sppdet.files.run_folder import RunFolder
    from sppdet.proposals.cache import propose
    from sppdet.runtime.memory import trim_memory
    from sppdet.runtime.progress import progress
    from sppdet.structures import Detections

    command = ["evaluate", str(run), *data_options(data), *(["--proposals", proposals] if proposals else [])]
    data = data_of_run(run, data)
    dataset = read_data(data, classes_of(run), workers, shard=shard)
    whole = RunFolder(run).evaluation(data)
    folder = OwnedFolder(output or whole.with_name(f"{whole.name}-shards"), "shards")
    folder.check()
    detector = load_run(run, device, precision)
    dataset.check_classes(detector.classes, run)
    origin = origin_of(run, proposals)
    boxes = propose(dataset.images, replace(detector.config.proposals, file=proposals), workers)
    pairs = progress(zip(dataset.images, boxes, strict=True), "detect", len(dataset))
    found = []
    for image, proposed in trim_memory(pairs):
        network = (origin["detector"], detector.backbone.device.type, precision, __version__)
        key = image.cache_key("detections", *network, hash_tensors([proposed]))
        file = cache_folder() / "detections" / key[:2] / f"{key}.safetensors"
        stored = load_cached(file)
        if stored is None:
            stored = detector.detect(image.image, proposed).as_dict()
            save_cached(file, stored, f"{run}, {precision}")
        found.append(Detections(stored["boxes"].clone(), stored["labels"].clone(), stored["scores"].clone()))
    folder.share()
    written = write_shard(folder.path, shard, coco_lines(found, dataset), dataset, {**origin, "precision": precision})
    text = f"shard {shard}: detections in {counted(len(dataset), 'image')} in {written}"
    way = f"with all shards there: {command_line(*command, '--detections', str(folder.path))}"
    return Summary({"shard": str(shard), "images": len(dataset), "file": str(written)}, f"{text}\n{way}")
