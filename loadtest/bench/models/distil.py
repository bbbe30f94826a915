"""Teaches a network of the AnimeGANv2 architecture to draw an embedded style, so that there are trained weights of ours.

Random weights serve for speed, but say nothing about how well a network stands being rewritten to bytes; these do.

    npx tsx server/model/bench/write-animegan-v2.ts out/v2.onnx
    .tools/peers/bin/python loadtest/bench/models/distil.py --start out/v2.onnx \
        --teacher server/models/embedded/meadow.onnx --photos ../shared/photos --out out/v2-meadow.onnx --minutes 4 --bf16
    npm run bench -- models --only v2 --weights out/v2-meadow.onnx

Where --out is there already it is gone on with, so that an hour can be had in pieces. The weights are made from the
photos that are given, and belong to whom these let them.
"""

import argparse
import math
import os
import pathlib
import random
import sys
import time

import numpy
import onnx
import onnxruntime
import torch
from PIL import Image

import torch_models

# Of one piece's end by its beginning: the last steps smooth what the first ones left rough.
LAST_RATE = 0.05


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", required=True, help="an ONNX file of the architecture, for the first piece")
    parser.add_argument("--teacher", required=True, help="the ONNX file of an embedded style (bytes in, bytes out)")
    parser.add_argument("--photos", required=True, help="a folder of photos, with all below it")
    parser.add_argument("--out", required=True, help="where the network goes, and where it is gone on from")
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--side", type=int, default=128, help="of the pieces of photos, px; a multiple of 4")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--bf16", action="store_true", help="compute in bfloat16, which CPUs that have it do faster")
    parser.add_argument("--seed", type=int, default=None)
    return parser.parse_args()


class Lessons:
    """Pieces of photos at many scales, mirrored and relit, each with what the teacher makes of it."""

    def __init__(self, photos, teacher, side, seed):
        suffixes = {".jpg", ".jpeg", ".png", ".webp"}
        files = sorted(each for each in pathlib.Path(photos).rglob("*") if each.suffix.lower() in suffixes)
        if not files:
            sys.exit(f"distil: there are no photos in {photos}")
        self.photos = [Image.open(each).convert("RGB") for each in files]
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = 1
        self.teacher = onnxruntime.InferenceSession(teacher, settings, providers=["CPUExecutionProvider"])
        self.side = side
        self.random = random.Random(seed)

    def one(self):
        photo = self.random.choice(self.photos)
        # From a face that fills the picture to a whole landscape.
        cut = int(min(photo.size) * math.exp(self.random.uniform(math.log(0.25), 0)))
        left = self.random.randint(0, photo.width - cut)
        top = self.random.randint(0, photo.height - cut)
        piece = photo.resize((self.side, self.side), Image.BILINEAR, (left, top, left + cut, top + cut))
        picture = numpy.asarray(piece, dtype=numpy.float32)
        if self.random.random() < 0.5:
            picture = picture[:, ::-1]
        light = self.random.uniform(0.7, 1.2)
        tint = numpy.array([self.random.uniform(0.9, 1.1) for _ in range(3)], dtype=numpy.float32)
        picture = (picture * light * tint).clip(0, 255).astype(numpy.uint8)
        picture = numpy.ascontiguousarray(picture)
        (name,) = (each.name for each in self.teacher.get_inputs())
        return picture, self.teacher.run(None, {name: picture[None]})[0][0]

    def batch(self, count):
        pairs = [self.one() for _ in range(count)]
        photos, drawn = (torch.from_numpy(numpy.stack(each)).permute(0, 3, 1, 2) for each in zip(*pairs))
        return torch_models.floats(photos, -1, 1), torch_models.floats(drawn, -1, 1)


def psnr(drawn, right):
    """Of values between -1 and 1, dB."""
    return 10 * math.log10(4 / max(1e-12, torch.mean((drawn.float() - right) ** 2).item()))


def main():
    wanted = options()
    torch.set_num_threads(wanted.threads)
    out = pathlib.Path(wanted.out)
    state_file = out.with_suffix(".state")
    model = onnx.load(str(out) if out.exists() else wanted.start)
    net = torch_models.AnimeganV2(torch_models.architecture_weights(model)).train()
    net = net.to(memory_format=torch.channels_last)
    learner = torch.optim.Adam(net.parameters(), lr=wanted.rate, betas=(0.9, 0.99))
    done = 0
    if out.exists() and state_file.exists():
        state = torch.load(state_file, weights_only=True)
        learner.load_state_dict(state["learner"])
        done = state["steps"]
    lessons = Lessons(wanted.photos, wanted.teacher, wanted.side, done if wanted.seed is None else wanted.seed)
    began = said = time.monotonic()
    whole = wanted.minutes * 60
    steps, recent = 0, []
    while (spent := time.monotonic() - began) < whole:
        fall = 0.5 * (1 + math.cos(math.pi * spent / whole))
        for group in learner.param_groups:
            group["lr"] = wanted.rate * (LAST_RATE + (1 - LAST_RATE) * fall)
        photos, right = lessons.batch(wanted.batch)
        photos = photos.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=wanted.bf16):
            drawn = net(photos)
        loss = torch.nn.functional.l1_loss(drawn.float(), right)
        learner.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        learner.step()
        steps += 1
        recent = [*recent[-49:], psnr(drawn.detach(), right)]
        if time.monotonic() - said > 20:
            said = time.monotonic()
            print(f"{done + steps} steps, {sum(recent) / len(recent):.1f} dB to the teacher", flush=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(f"{out.name}.part")
    onnx.save(torch_models.with_weights(model, net), str(beside))
    os.replace(beside, out)
    torch.save({"learner": learner.state_dict(), "steps": done + steps}, state_file)
    print(f"{out}: {done + steps} steps, {sum(recent) / max(1, len(recent)):.1f} dB to the teacher")


if __name__ == "__main__":
    main()
