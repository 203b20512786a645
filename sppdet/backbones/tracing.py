"""A network as a graph of its layers and functions, recorded while a stand-in for images passes through it.

`torch.fx.symbolic_trace` does the same, but patches torch for all threads while it runs: no detector could be loaded
next to one at work. Here only modules of the network itself are changed, and put back afterwards.
"""

from contextlib import ExitStack
from functools import partial
from typing import Any

from torch import fx, nn
from torch.fx.proxy import GraphAppendingTracer

from sppdet.backbones.lrn import WithinChannelNorm
from sppdet.errors import InputError

# Like torch's own layers, these and those derived from them are one node, whatever functions they call.
Norm = nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm | nn.LocalResponseNorm
CONTAINERS = ("torch.nn.modules.container", "torch.nn.modules.module")


class _Recorder(GraphAppendingTracer):
    """inside: names of the modules that are running, outermost first."""

    def __init__(self) -> None:
        super().__init__(fx.Graph())
        self.inside: list[str] = []

    def create_node(self, *arguments: Any, **options: Any) -> fx.Node:
        node = super().create_node(*arguments, **options)
        node.meta["layer"] = self.inside[-1] if self.inside else ""
        return node


def trace(network: nn.Module) -> fx.Graph:
    """Return the graph of a network in evaluation mode. meta["layer"] of a node is the module that called it.

    Parameters and buffers are nodes before all others. Raises InputError, naming the module, if the code of one does in
    Python what it could do with tensors only, such as a branch on the size of the image.
    """
    recorder = _Recorder()
    with ExitStack() as restored:
        for name, module in network.named_modules():
            (_record_layer if is_layer(module) else _record_inside)(module, name, recorder, restored)
        try:
            output = network(recorder.create_proxy("placeholder", "images", (), {}))
            recorder.graph.output(recorder.create_arg(output))
        except Exception as error:  # whatever code raises that is given no tensor
            reason = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
            layer = recorder.inside[-1] if recorder.inside else ""
            raise InputError("layer cannot be traced", field=describe(network, layer), got=reason) from error
    return recorder.graph


def describe(network: nn.Module, layer: str) -> str:
    """Return the class and name of a layer for an error."""
    return f"{type(network.get_submodule(layer)).__name__} {layer}".strip()


def is_layer(module: nn.Module) -> bool:
    """Return whether a module is a single node of the graph."""
    home = type(module).__module__
    return isinstance(module, Norm | WithinChannelNorm) or (home.startswith("torch.nn.") and home not in CONTAINERS)


def _record_layer(module: nn.Module, name: str, recorder: _Recorder, restored: ExitStack) -> None:
    """Let calls of a layer become nodes."""
    module.__dict__["forward"] = lambda *inputs: recorder.create_proxy("call_module", name, inputs, {})
    restored.callback(module.__dict__.pop, "forward")


def _record_inside(module: nn.Module, name: str, recorder: _Recorder, restored: ExitStack) -> None:
    """Let what a module computes with its own parameters become nodes, and note that it is running."""
    own: tuple[dict[str, Any], ...] = module._parameters, module._buffers
    for tensors in own:
        restored.callback(tensors.update, dict(tensors))
        for key in [key for key, value in tensors.items() if value is not None]:
            tensors[key] = recorder.create_proxy("get_attr", f"{name}.{key}".removeprefix("."), (), {})
    restored.enter_context(module.register_forward_pre_hook(partial(_enter, recorder.inside, name)))
    restored.enter_context(module.register_forward_hook(partial(_leave, recorder.inside)))


def _enter(inside: list[str], name: str, *_call: object) -> None:
    inside.append(name)


def _leave(inside: list[str], *_call: object) -> None:
    inside.pop()
