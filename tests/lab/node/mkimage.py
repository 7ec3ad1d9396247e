#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Packs a container image as a docker-archive: the same input, the same bytes.

usage: mkimage.py --name NAME:TAG --output FILE [--base LAYER.tar] [--tree DIR] [-- ENTRYPOINT...]
       mkimage.py --output FILE --bundle ARCHIVE...    (many images as one archive)
"""

import argparse
import hashlib
import io
import json
import os
import sys
import tarfile


def layer_of(tree):
    """The folder TREE as an uncompressed layer: sorted, owned by root, dated 1970."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for folder, subfolders, files in os.walk(tree):
            subfolders.sort()
            links = [d for d in subfolders if os.path.islink(os.path.join(folder, d))]
            for name in sorted(set(subfolders) | set(files) | set(links)):
                path = os.path.join(folder, name)
                info = tar.gettarinfo(path, arcname=os.path.relpath(path, tree))
                info.uid = info.gid = info.mtime = 0
                info.uname = info.gname = "root"
                if info.isreg():
                    with open(path, "rb") as data:
                        tar.addfile(info, data)
                else:
                    tar.addfile(info)
    return out.getvalue()


def add(tar, name, data):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mode = 0o644
    tar.addfile(info, io.BytesIO(data))


def bundle(output, archives):
    """All images of the archives in one: a container engine takes it in one go."""
    manifest, seen = [], set()
    with tarfile.open(output + ".tmp", "w", format=tarfile.GNU_FORMAT) as tar:
        for archive in archives:
            with tarfile.open(archive) as part:
                for info in part:
                    data = part.extractfile(info).read()
                    if info.name == "manifest.json":
                        manifest += json.loads(data)
                    elif info.name not in seen:
                        seen.add(info.name)
                        add(tar, info.name, data)
        add(tar, "manifest.json", json.dumps(manifest).encode())
    os.rename(output + ".tmp", output)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name")
    parser.add_argument("--bundle", nargs="+")
    parser.add_argument("--output", required=True)
    parser.add_argument("--base")
    parser.add_argument("--tree")
    parser.add_argument("entrypoint", nargs="*")
    args = parser.parse_args()
    if args.bundle:
        bundle(args.output, args.bundle)
        return
    if not args.name:
        parser.error("an image needs a --name")

    layers = []
    if args.base:
        with open(args.base, "rb") as data:
            layers.append(data.read())
    if args.tree:
        layers.append(layer_of(args.tree))
    digests = [hashlib.sha256(layer).hexdigest() for layer in layers]
    config = json.dumps({
        "architecture": "amd64",
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {"Entrypoint": args.entrypoint, "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + d for d in digests]},
        "history": [{"created": "1970-01-01T00:00:00Z"} for _ in layers],
    }, sort_keys=True).encode()
    config_name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = json.dumps([{"Config": config_name, "RepoTags": [args.name],
                            "Layers": [d + "/layer.tar" for d in digests]}]).encode()
    with tarfile.open(args.output + ".tmp", "w", format=tarfile.GNU_FORMAT) as tar:
        for digest, layer in zip(digests, layers):
            add(tar, digest + "/layer.tar", layer)
        add(tar, config_name, config)
        add(tar, "manifest.json", manifest)
    os.rename(args.output + ".tmp", args.output)


if __name__ == "__main__":
    sys.exit(main())
