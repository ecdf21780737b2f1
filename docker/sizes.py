"""Prints the sizes of images and what they share, and fails if one is above its bound; `make images` ends with it.

Usage: python docker/sizes.py IMAGE=MEGABYTES ..., each image with its bound. Needs nothing but `docker` ($DOCKER).
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections import Counter

# What a history names beside layers. Docker writes ENV ..., older builders and Podman /bin/sh -c #(nop) ENV ...
NO_LAYER = re.compile(
    r"^(/bin/sh -c #\(nop\)\s+)?"
    r"(ARG|CMD|ENTRYPOINT|ENV|EXPOSE|HEALTHCHECK|LABEL|MAINTAINER|ONBUILD|SHELL|STOPSIGNAL|USER|VOLUME)\b"
)


def docker(*arguments: str) -> str:
    """What a `docker` command wrote; its own message and exit code 1 if it failed."""
    command = [*shlex.split(os.environ.get("DOCKER", "docker")), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
    if done.returncode:
        sys.exit(1)
    return done.stdout


def layers(image: str) -> dict[str, int]:
    """The layers of an image, by the digest of their content, and their bytes.

    The engine tells digests and sizes apart: both go from the bottom up, one a layer.
    """
    digests = json.loads(docker("image", "inspect", image))[0]["RootFS"]["Layers"]
    lines = docker("history", "--no-trunc", "--human=false", "--format", "{{.Size}}\t{{.CreatedBy}}", image)
    steps = [line.split("\t", 1) for line in lines.splitlines() if "\t" in line][::-1]
    sizes = [int(size) for size, command in steps if int(size) or not NO_LAYER.match(command)]
    if len(sizes) != len(digests):  # a step without a size that we do not know: layers without one hold nothing
        sizes = [size for size in sizes if size]
    if len(sizes) != len(digests):
        sys.exit(
            f"The history of {image} names {len(sizes)} layers, but it has {len(digests)}: its sizes are not known."
        )
    return dict(zip(digests, sizes, strict=True))


def table(images: dict[str, dict[str, int]]) -> list[str]:
    """A line for each image: its size, what all of these images share, what some do, what is its own; then the sum."""
    users = Counter(layer for stack in images.values() for layer in stack)
    width = max(len(image) for image in images)
    row = f"{{:{width}}}  {{:>6}}  {{:>8}}  {{:>9}}  {{:>8}}".format
    lines = ["Megabytes:", row("image", "size", "all have", "some have", "its own")]
    for image, stack in images.items():
        parts = [0, 0, 0]
        for layer, size in stack.items():
            parts[0 if users[layer] == len(images) else 2 if users[layer] == 1 else 1] += size
        lines.append(row(image, *(f"{part / 1e6:.1f}" for part in (sum(parts), *parts))))
    apart = sum(sum(stack.values()) for stack in images.values())
    together = sum({layer: size for stack in images.values() for layer, size in stack.items()}.values())
    return [
        *lines,
        f"Together they take {together / 1e6:.0f} MB of a disk; not shared it would be {apart / 1e6:.0f} MB.",
    ]


def main(words: list[str]) -> int:
    """Prints the table; the exit code."""
    bounds = {image: float(bound) for image, _, bound in (word.rpartition("=") for word in words)}
    images = {image: layers(image) for image in bounds}
    print(*table(images), sep="\n")  # noqa: T201
    large = [image for image, stack in images.items() if not sum(stack.values()) <= bounds[image] * 1e6]
    for image in large:
        found = sum(images[image].values()) / 1e6
        sys.stderr.write(
            f"{image} must have at most {bounds[image]:.0f} MB, got {found:.1f}: "
            f"`docker history {image}` says which layer has them.\n"
        )
    return int(bool(large))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
