"""Locust against a toonfleet: users who each wait for their picture before they ask for the next (a closed model).

    loadtest/locust/run.sh [URL] [RestUser|GradioUser]

RestUser posts multipart to /v1/images; GradioUser posts a data URL to /api/predict, as the old Gradio apps did.
The users come in steps (STEPS, STEP_SECONDS). At the end a table in the shape of `toonfleet loadtest --plan steps`
is printed, and the exit code is 1 when the first step misses the service level of loadtest/slo.json.
"""

import base64
import itertools
import json
import os
import random
import time
from pathlib import Path

from locust import HttpUser, LoadTestShape, constant, events, task

SLO = json.loads((Path(__file__).parent.parent / "slo.json").read_text())
FOLDER = Path(os.environ["PHOTOS"])
PHOTOS = [
    ((FOLDER / photo["file"]).read_bytes(), photo["comment_at"])
    for photo in json.loads((FOLDER / "photos.json").read_text())
]
STEPS = [int(text) for text in os.environ.get("STEPS", "5,10,20,30").split(",")]
STEP_SECONDS = float(os.environ.get("STEP_SECONDS", "30"))
STYLE = os.environ.get("STYLE", "")
SERIAL = itertools.count(int(time.time() * 1e6))
# Users of a new step start within this time; their first second belongs to no step.
SETTLE_SECONDS = 1.0


def photo_with_own_bytes() -> bytes:
    """A photo with a comment of its own, so that no cache knows it."""
    photo, at = random.choice(PHOTOS)
    text = b"%020d" % next(SERIAL)
    return photo[:at] + b"\xff\xfe" + (2 + len(text)).to_bytes(2, "big") + text + photo[at:]


class RestUser(HttpUser):
    """Posts multipart and wants the bare picture."""

    wait_time = constant(0)

    @task
    def picture(self) -> None:
        files = {"image": ("photo.jpg", photo_with_own_bytes(), "image/jpeg")}
        data = {"style": STYLE} if STYLE else {}
        with self.client.post("/v1/images", files=files, data=data, catch_response=True, timeout=60) as answer:
            if answer.headers.get("X-Cache") == "hit":
                answer.failure("came from a cache")
            elif not answer.headers.get("Content-Type", "").startswith("image/") and answer.ok:
                answer.failure("not a picture")


class GradioUser(HttpUser):
    """Posts a data URL in JSON and wants one back."""

    wait_time = constant(0)

    @task
    def predict(self) -> None:
        url = "data:image/jpeg;base64," + base64.b64encode(photo_with_own_bytes()).decode()
        data = [url, STYLE] if STYLE else [url]
        with self.client.post("/api/predict", json={"data": data}, catch_response=True, timeout=60) as answer:
            if answer.ok and not answer.text.startswith('{"data":["data:image/'):
                answer.failure("not a picture")


class Steps(LoadTestShape):
    """So many users for so long, one step after the other."""

    def tick(self):
        step = int(self.get_run_time() // STEP_SECONDS)
        return (STEPS[step], 100) if step < len(STEPS) else None


class Table:
    """What each step came to: requests are counted to the step in which they end."""

    def __init__(self) -> None:
        self.start = time.time()
        self.latencies: list[list[float]] = [[] for _ in STEPS]
        self.failures = [0] * len(STEPS)

    def add(self, response_time: float, failed: bool) -> None:
        at = time.time() - self.start
        step = int(at // STEP_SECONDS)
        if step >= len(STEPS) or at - step * STEP_SECONDS < SETTLE_SECONDS:
            return
        if failed:
            self.failures[step] += 1
        else:
            self.latencies[step].append(response_time)

    def rows(self) -> list[dict]:
        rows = []
        for users, latencies, failures in zip(STEPS, self.latencies, self.failures):
            done = len(latencies) + failures
            ordered = sorted(latencies)
            rows.append(
                {
                    "users": users,
                    "qps": round(len(latencies) / (STEP_SECONDS - SETTLE_SECONDS), 2),
                    "mean_ms": round(sum(latencies) / len(latencies), 1) if latencies else None,
                    "p95_ms": round(ordered[int(len(ordered) * 0.95)], 1) if ordered else None,
                    "error_rate": round(failures / done, 4) if done else None,
                }
            )
        return rows


TABLE = Table()


@events.test_start.add_listener
def begin(**_) -> None:
    TABLE.start = time.time()


@events.request.add_listener
def count(response_time, exception, **_) -> None:
    TABLE.add(response_time, exception is not None)


@events.quitting.add_listener
def judge(environment, **_) -> None:
    rows = TABLE.rows()
    print("\nusers    QPS   mean ms    P95 ms   errors")
    for row in rows:
        print("{users:5d} {qps:6.2f} {mean_ms!s:>9} {p95_ms!s:>9} {error_rate!s:>8}".format(**row))
    if path := os.environ.get("TABLE"):
        Path(path).write_text(json.dumps(rows, indent=1) + "\n")
    first = rows[0]
    met = (
        first["p95_ms"] is not None
        and first["p95_ms"] <= SLO["p95_ms"]
        and first["error_rate"] <= SLO["max_error_rate"]
    )
    environment.process_exit_code = 0 if met else 1
