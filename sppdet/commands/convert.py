"""Convert weights that were trained with Caffe."""

from sppdet.commands.summary import Summary


def convert(
    files: list[str], *, backbone: str, mean: list[float] | str | None = None, output: str | None = None
) -> Summary:
    """Convert weights trained with Caffe to a file for --backbone.weights, without Caffe.

    Layers in later files replace layers of the first: SPPnet's fine-tuned fc6 and fc7 have a file of their own.

    Example: sppdet convert bvlc_reference.caffemodel --backbone caffenet

    Args:
        files: .caffemodel files
        backbone: caffenet, vgg16, vgg16_caffe or zf5
        mean: .binaryproto or [B,G,R] in 0..255; the original's if not given
        output: weight file; BACKBONE.safetensors if not given
    """
    from sppdet.backbones.caffe import convert_caffe
    from sppdet.files.owned import check_new_file

    file = output or f"{backbone}.safetensors"
    check_new_file(file)
    layers = convert_caffe(files, backbone, file, mean)
    use = f"use it with --backbone.name {backbone} --backbone.weights {file}"
    return Summary({"backbone": backbone, "file": file, "layers": layers}, f"{', '.join(layers)} in {file}\n{use}")
