"""One rival of `npm run bench models`: draws pictures when it is asked, with one thread, and says what each cost.

    peer.py torch|openvino-f32|openvino-bf16 MODEL.onnx '{"layout": "NCHW", "input": [-1, 1], "output": [-1, 1]}'

Prints {"ready": VERSION} or {"fault": WHY}. Then each line of stdin, {"photo": FILE, "width": W, "height": H, "keep": FILE
or null}, a file of RGB bytes, is answered by {"cpuMs", "rssBytes", "peakBytes"}. Time counts from bytes to bytes.
"""

import json
import os
import sys
import time

# Before any of them is loaded: they read it once.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"
os.environ["OPENVINO_TELEMETRY_OPT_OUT"] = "1"

import numpy  # noqa: E402


def torch_rival(path, form):
    import torch

    import torch_models

    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    net = torch_models.load(path)

    def draw(picture):
        with torch.inference_mode():
            photo = torch.from_numpy(picture)[None]
            if form["layout"] == "NCHW":
                photo = photo.permute(0, 3, 1, 2)
            drawn = net(torch_models.floats(photo, *form["input"]))
            if form["layout"] == "NCHW":
                drawn = drawn.permute(0, 2, 3, 1)
            return torch_models.as_bytes(torch_models.pixels(drawn, *form["output"])[0])

    return f"PyTorch {torch.__version__}", draw


def openvino_rival(path, form, precision):
    import openvino

    core = openvino.Core()
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise RuntimeError("this CPU has no bf16")
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = core.compile_model(core.read_model(path), "CPU", settings)
    request = compiled.create_infer_request()

    def draw(picture):
        photo = _floats(picture[None], form)
        result = request.infer({0: photo}, share_inputs=True, share_outputs=True)
        return _pixels(result[0], form).tobytes()

    return f"OpenVINO {openvino.__version__.split('-')[0]} {precision}", draw


def _floats(picture, form):
    low, high = form["input"]
    if form["layout"] == "NCHW":
        picture = picture.transpose(0, 3, 1, 2)
    photo = numpy.ascontiguousarray(picture, dtype=numpy.float32)
    photo *= (high - low) / 255
    photo += low
    return photo


def _pixels(drawn, form):
    low, high = form["output"]
    values = numpy.rint((drawn - low) * (255 / (high - low))).clip(0, 255).astype(numpy.uint8)
    return values.transpose(0, 2, 3, 1) if form["layout"] == "NCHW" else values


def memory():
    with open("/proc/self/status", encoding="ascii") as status:
        rows = dict(line.split(":", 1) for line in status)
    return {
        "rssBytes": int(rows["VmRSS"].split()[0]) * 1024,
        "peakBytes": int(rows["VmHWM"].split()[0]) * 1024,
    }


def say(row):
    print(json.dumps(row), flush=True)


def main():
    kind, path, form = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    try:
        if kind == "torch":
            title, draw = torch_rival(path, form)
        else:
            title, draw = openvino_rival(path, form, kind.removeprefix("openvino-"))
    except Exception as error:  # noqa: BLE001 - whatever it is, the bench goes on without this rival and says why
        say({"fault": f"{type(error).__name__}: {error}"})
        return
    say({"ready": title})
    for line in sys.stdin:
        order = json.loads(line)
        picture = numpy.fromfile(order["photo"], dtype=numpy.uint8)
        picture = picture.reshape(order["height"], order["width"], 3)
        before = time.process_time()
        try:
            drawn = draw(picture)
        except Exception as error:  # noqa: BLE001
            say({"fault": f"{type(error).__name__}: {error}"})
            return
        spent = (time.process_time() - before) * 1000
        if order["keep"]:
            with open(order["keep"], "wb") as kept:
                kept.write(drawn)
        say({"cpuMs": spent, **memory()})


if __name__ == "__main__":
    main()
