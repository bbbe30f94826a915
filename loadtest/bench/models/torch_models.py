"""The networks of `npm run bench models` in PyTorch, with the weights of an ONNX file.

Two ways: the AnimeGANv2 architecture by a definition of its own, as a service in PyTorch would have it; any other
generator by running the ONNX graph step by step with PyTorch's operators. Knows no photos and no clock.
"""

import numpy
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn
from torch.nn import functional

ARCHITECTURE = "animegan-v2-architecture"


class Unsupported(Exception):
    """A step of a graph that is not written down here."""


class ConvNorm(nn.Module):
    """Reflecting padding (left, right, top, bottom), a convolution without bias, one norm over all channels."""

    def __init__(self, wide, out, kernel=3, stride=1, groups=1, pads=(1, 1, 1, 1), act=True):
        super().__init__()
        self.pads = pads
        self.conv = nn.Conv2d(wide, out, kernel, stride, groups=groups, bias=False)
        self.norm = nn.GroupNorm(1, out)
        self.act = nn.LeakyReLU(0.2) if act else nn.Identity()

    def forward(self, at):
        if any(self.pads):
            at = functional.pad(at, self.pads, mode="reflect")
        return self.act(self.norm(self.conv(at)))


class InvertedResidual(nn.Module):
    def __init__(self, wide, out):
        super().__init__()
        inner, flat = wide * 2, (0, 0, 0, 0)
        self.steps = nn.Sequential(
            ConvNorm(wide, inner, kernel=1, pads=flat),
            ConvNorm(inner, inner, groups=inner),
            ConvNorm(inner, out, kernel=1, pads=flat, act=False),
        )
        self.same = wide == out

    def forward(self, at):
        return at + self.steps(at) if self.same else self.steps(at)


class Doubled(nn.Module):
    def forward(self, at):
        return functional.interpolate(at, scale_factor=2, mode="bilinear", align_corners=False)


class AnimeganV2(nn.Module):
    """Any size that is a multiple of 4; NCHW, RGB, -1 to 1. The widths are read from the weights."""

    def __init__(self, weights):
        super().__init__()
        convs, norms = weights
        w1, w2, w3 = (convs[at].shape[0] for at in (0, 1, 3))
        w4 = convs[8].shape[0]
        # Sixteen layers stand around the residual blocks, which have three each.
        residuals = (len(convs) - 16) // 3
        ends, down = (3, 3, 3, 3), (0, 1, 0, 1)
        self.steps = nn.Sequential(
            ConvNorm(3, w1, kernel=7, pads=ends),
            ConvNorm(w1, w2, stride=2, pads=down),
            ConvNorm(w2, w2),
            ConvNorm(w2, w3, stride=2, pads=down),
            ConvNorm(w3, w3),
            ConvNorm(w3, w3),
            InvertedResidual(w3, w4),
            *(InvertedResidual(w4, w4) for _ in range(residuals)),
            ConvNorm(w4, w3),
            Doubled(),
            ConvNorm(w3, w3),
            ConvNorm(w3, w3),
            Doubled(),
            ConvNorm(w3, w2),
            ConvNorm(w2, w2),
            ConvNorm(w2, w1, kernel=7, pads=ends),
            nn.Conv2d(w1, 3, 1, bias=False),
        )
        self._take(convs, norms)

    def forward(self, photo):
        return torch.tanh(self.steps(photo))

    def convolutions(self):
        """In the order of the ONNX file."""
        return [each for each in self.modules() if isinstance(each, nn.Conv2d)]

    def norms(self):
        return [each for each in self.modules() if isinstance(each, nn.GroupNorm)]

    def _take(self, convs, norms):
        own, own_norms = self.convolutions(), self.norms()
        if len(own) != len(convs) or len(own_norms) != len(norms):
            raise Unsupported(f"{len(convs)} convolutions and {len(norms)} norms, not {len(own)} and {len(own_norms)}")
        with torch.no_grad():
            for layer, weights in zip(own, convs):
                layer.weight.copy_(torch.tensor(weights))
            for norm, (gamma, beta) in zip(own_norms, norms):
                norm.weight.copy_(torch.tensor(gamma))
                norm.bias.copy_(torch.tensor(beta))


def _norm_steps(graph):
    """Of every norm, the steps that multiply by gamma and add beta: InstanceNormalization, Reshape, Mul, Add."""
    after = {}
    for node in graph.node:
        for name in node.input:
            after.setdefault(name, []).append(node)
    for node in graph.node:
        if node.op_type == "InstanceNormalization":
            (shaped,) = after[node.output[0]]
            (times,) = after[shaped.output[0]]
            (plus,) = after[times.output[0]]
            yield times, plus


def architecture_weights(model):
    """Weights of all convolutions, and gamma and beta of all norms, in the file's order."""
    found = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    convs = [found[node.input[1]] for node in model.graph.node if node.op_type == "Conv"]
    norms = [
        (found[times.input[1]].reshape(-1), found[plus.input[1]].reshape(-1))
        for times, plus in _norm_steps(model.graph)
    ]
    return convs, norms


def with_weights(model, net):
    """The ONNX file of the architecture with the weights of a network."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    fresh = {}

    def constant(name, values):
        fresh[name] = numpy_helper.from_array(values.detach().float().numpy(), name)
        return name

    convs = (node for node in made.graph.node if node.op_type == "Conv")
    for at, (node, layer) in enumerate(zip(convs, net.convolutions())):
        node.input[1] = constant(f"conv_{at}", layer.weight)
    for at, ((times, plus), norm) in enumerate(zip(_norm_steps(made.graph), net.norms())):
        times.input[1] = constant(f"gamma_{at}", norm.weight.reshape(-1, 1, 1))
        plus.input[1] = constant(f"beta_{at}", norm.bias.reshape(-1, 1, 1))
    used = {name for node in made.graph.node for name in node.input}
    kept = [each for each in made.graph.initializer if each.name in used and each.name not in fresh]
    del made.graph.initializer[:]
    made.graph.initializer.extend([*kept, *fresh.values()])
    onnx.checker.check_model(made)
    return made


class StepByStep(nn.Module):
    """An ONNX graph, run with PyTorch's operators: as eager as PyTorch is, with no fusing and no copies of our own."""

    def __init__(self, model):
        super().__init__()
        self.inputs = [each.name for each in model.graph.input]
        self.output = model.graph.output[0].name
        self.constants = {each.name: _tensor(each) for each in model.graph.initializer}
        self.inputs = [name for name in self.inputs if name not in self.constants]
        self.steps = []
        for node in model.graph.node:
            attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
            if node.op_type == "Constant":
                self.constants[node.output[0]] = _tensor(attributes["value"])
                continue
            step = STEPS.get(node.op_type)
            if step is None:
                raise Unsupported(node.op_type)
            self.steps.append((step, list(node.input), node.output[0], attributes))
        last = {name: at for at, (_, names, _, _) in enumerate(self.steps) for name in names}
        self.done = [
            [name for name in set(names) if last[name] == at and name not in self.constants]
            for at, (_, names, _, _) in enumerate(self.steps)
        ]

    def forward(self, photo):
        values = {**self.constants, self.inputs[0]: photo, "": None}
        for (step, names, output, attributes), done in zip(self.steps, self.done):
            values[output] = step(*(values[name] for name in names), **attributes)
            # What nobody needs any more goes, as Python's own variables would.
            for name in done:
                if name and name != self.output:
                    del values[name]
        return values[self.output]


def _tensor(proto):
    return torch.from_numpy(numpy_helper.to_array(proto).copy())


def _ints(tensor):
    return [int(each) for each in tensor.reshape(-1)]


def _conv(at, weight, bias=None, strides=(1, 1), pads=(0, 0, 0, 0), dilations=(1, 1), group=1, auto_pad=b"NOTSET", **_):
    if auto_pad not in (b"NOTSET", b"VALID"):
        raise Unsupported(f"Conv with auto_pad {auto_pad}")
    top, left, bottom, right = pads
    if (top, left) == (bottom, right):
        return functional.conv2d(at, weight, bias, strides, (top, left), dilations, group)
    at = functional.pad(at, (left, right, top, bottom))
    return functional.conv2d(at, weight, bias, strides, 0, dilations, group)


def _pad(at, pads, value=None, mode=b"constant", **_):
    sizes = _ints(pads)
    half = len(sizes) // 2
    begins, ends = sizes[:half], sizes[half:]
    moving = [axis for axis in range(half) if begins[axis] or ends[axis]]
    if not moving:
        return at
    # PyTorch reflects the two last axes of four only.
    lowest = min(moving[0], half - 2)
    order = [side for axis in range(half - 1, lowest - 1, -1) for side in (begins[axis], ends[axis])]
    if mode == b"constant":
        return functional.pad(at, order, value=0.0 if value is None else float(value))
    if half == 4 and moving[0] == 1 and moving[-1] == 2 and not (begins[3] or ends[3]):
        inner = (begins[2], ends[2], begins[1], ends[1])
        return functional.pad(at.permute(0, 3, 1, 2), inner, mode=_PADS[mode]).permute(0, 2, 3, 1)
    return functional.pad(at, order, mode=_PADS[mode])


_PADS = {b"reflect": "reflect", b"edge": "replicate"}


def _resize(at, _roi=None, scales=None, sizes=None, mode=b"nearest", coordinate_transformation_mode=b"half_pixel", **_):
    height, width = at.shape[-2:]
    if sizes is not None:
        wanted = _ints(sizes)[-2:]
    else:
        factors = [float(each) for each in scales.reshape(-1)][-2:]
        wanted = [int(height * factors[0]), int(width * factors[1])]
    if mode == b"nearest":
        return functional.interpolate(at, size=wanted, mode="nearest")
    if mode != b"linear":
        raise Unsupported(f"Resize by {mode}")
    if coordinate_transformation_mode == b"asymmetric":
        if wanted[0] % height or wanted[1] % width:
            raise Unsupported("an asymmetric Resize by a broken factor")
        # Places at x/factor: those of aligned corners when the last row and column stand there twice.
        more = functional.pad(at, (0, 1, 0, 1), mode="replicate")
        drawn = functional.interpolate(
            more, size=[wanted[0] + 1, wanted[1] + 1], mode="bilinear", align_corners=True
        )
        return drawn[..., : wanted[0], : wanted[1]]
    aligned = coordinate_transformation_mode == b"align_corners"
    return functional.interpolate(at, size=wanted, mode="bilinear", align_corners=aligned)


def _slice(at, starts, ends, axes=None, steps=None):
    first, last = _ints(starts), _ints(ends)
    along = _ints(axes) if axes is not None else range(len(first))
    by = _ints(steps) if steps is not None else [1] * len(first)
    cut = [slice(None)] * at.dim()
    for axis, begin, end, step in zip(along, first, last, by):
        cut[axis] = slice(begin, end, step)
    return at[tuple(cut)]


def _axes(at, axes=None, fallback=None):
    if axes is None:
        return fallback
    return axes if isinstance(axes, list) else _ints(axes)


def _squeeze(at, axes=None):
    for axis in sorted((each % at.dim() for each in _axes(at, axes)), reverse=True):
        at = at.squeeze(axis)
    return at


def _unsqueeze(at, axes=None):
    for axis in sorted(_axes(at, axes)):
        at = at.unsqueeze(axis)
    return at


def _reduced(how):
    def step(at, axes=None, keepdims=1, **_):
        along = _axes(at, axes)
        if along is None:
            along = list(range(at.dim()))
        return how(at, dim=along, keepdim=bool(keepdims))

    return step


def _reshape(at, shape, allowzero=0):
    sizes = _ints(shape)
    return at.reshape([at.shape[axis] if size == 0 and not allowzero else size for axis, size in enumerate(sizes)])


def _average(at, kernel_shape, strides=(1, 1), pads=(0, 0, 0, 0), count_include_pad=0, ceil_mode=0, **_):
    top, left, bottom, right = pads
    if (top, left) != (bottom, right):
        raise Unsupported("AveragePool with sides that differ")
    return functional.avg_pool2d(at, kernel_shape, strides, (top, left), bool(ceil_mode), bool(count_include_pad))


def _instance_norm(at, scale, shift, epsilon=1e-5):
    return functional.instance_norm(at, weight=scale, bias=shift, eps=epsilon)


_TYPES = {1: torch.float32, 2: torch.uint8, 6: torch.int32, 7: torch.int64, 9: torch.bool}

STEPS = {
    "Add": torch.add,
    "AveragePool": _average,
    "Cast": lambda at, to: at.to(_TYPES[to]),
    "Clip": lambda at, low=None, high=None, **by: torch.clamp(at, by.get("min", low), by.get("max", high)),
    "Concat": lambda *each, axis: torch.cat(each, axis),
    "Conv": _conv,
    "Div": torch.div,
    "Exp": torch.exp,
    "Gather": lambda at, index, axis=0: torch.index_select(at, axis, index.reshape(-1)).reshape(
        at.shape[:axis] + index.shape + at.shape[axis + 1 :]
    ),
    "GlobalAveragePool": lambda at: at.mean(dim=tuple(range(2, at.dim())), keepdim=True),
    "Identity": lambda at: at,
    "InstanceNormalization": _instance_norm,
    "LeakyRelu": lambda at, alpha=0.01: functional.leaky_relu(at, alpha),
    "MatMul": torch.matmul,
    "Mul": torch.mul,
    "Pad": _pad,
    "Pow": torch.pow,
    "Reciprocal": torch.reciprocal,
    "ReduceMean": _reduced(torch.mean),
    "ReduceSum": _reduced(torch.sum),
    "Relu": torch.relu,
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": lambda at: torch.tensor(at.shape, dtype=torch.int64),
    "Sigmoid": torch.sigmoid,
    "Slice": _slice,
    "Softmax": lambda at, axis=-1: torch.softmax(at, axis),
    "Sqrt": torch.sqrt,
    "Squeeze": _squeeze,
    "Sub": torch.sub,
    "Tanh": torch.tanh,
    "Transpose": lambda at, perm: at.permute(perm),
    "Unsqueeze": _unsqueeze,
}


def load(path):
    """A network in PyTorch from an ONNX file, ready to draw."""
    model = onnx.load(path)
    if model.graph.name == ARCHITECTURE:
        return AnimeganV2(architecture_weights(model)).eval()
    return StepByStep(model).eval()


def floats(pixels, low, high):
    """Bytes as floats between low and high."""
    return pixels.to(torch.float32).mul_((high - low) / 255).add_(low)


def pixels(drawn, low, high):
    """Floats between low and high as bytes."""
    return drawn.sub(low).mul_(255 / (high - low)).round_().clamp_(0, 255).to(torch.uint8)


def as_bytes(tensor):
    return numpy.ascontiguousarray(tensor.numpy()).tobytes()
