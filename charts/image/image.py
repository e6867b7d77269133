#!/usr/bin/env python3
"""Makes an OCI image archive out of files, without an engine, and the same bytes each time.

    image.py OUT.tar NAME:TAG [OPTION…] SOURCE=TARGET…

A TARGET that ends in / means "into that directory". A SOURCE that is a dynamic program brings its shared libraries along;
link:TO=TARGET is a symbolic link. The image is for the machine it is made on. `created` is SOURCE_DATE_EPOCH, or 1970.
Reads it: docker load (25 or later), podman load, ctr image import, skopeo, kind load image-archive, k3s ctr image import."""
import argparse
import datetime
import gzip
import hashlib
import io
import json
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile

ARCHITECTURES = {"x86_64": ("amd64", None), "aarch64": ("arm64", "v8"), "armv7l": ("arm", "v7"), "ppc64le": ("ppc64le", None),
                 "riscv64": ("riscv64", None), "s390x": ("s390x", None)}
CAPABILITIES = {"net_bind_service": 10, "net_admin": 12, "net_raw": 13}  # linux/capability.h
MEDIA = "application/vnd.oci.image."


def libraries(path):
    """The shared libraries of a program and its loader, by their paths; none for what is not a dynamic program."""
    done = subprocess.run(["ldd", path], capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    if "not found" in done.stdout:
        sys.exit(f"image.py: {path}: {done.stdout.strip()}")
    return re.findall(r"(/\S+) \(0x", done.stdout) if done.returncode == 0 else []


def capability(text):
    """NAME+p or NAME+ep as the kernel's struct vfs_cap_data, revision 2 (linux/capability.h)."""
    name, _, flags = text.partition("+")
    if name not in CAPABILITIES or flags not in ("p", "ep"):
        sys.exit(f"image.py: capability {text!r}: one of {', '.join(CAPABILITIES)}, then +p or +ep")
    return struct.pack("<IIIII", 0x02000000 | ("e" in flags), 1 << CAPABILITIES[name], 0, 0, 0)


def contents(path, strip):
    if strip:
        with open(path, "rb") as file:
            strip = file.read(4) == b"\x7fELF"
    if not strip:
        with open(path, "rb") as file:
            return file.read()
    with tempfile.TemporaryDirectory() as scratch:
        stripped = shutil.copy(path, scratch)
        # The build id is made of what is stripped here, the build's directory included.
        subprocess.run(["strip", "--remove-section=.note.gnu.build-id", stripped], check=True)
        with open(stripped, "rb") as file:
            return file.read()


def files(arguments, strip):
    """{path: (bytes, mode)} and {path: where the link leads}."""
    tree, links = {}, {}
    for argument in arguments:
        source, _, target = argument.rpartition("=")
        target = (target + os.path.basename(source) if target.endswith("/") else target).lstrip("/")
        if source.startswith("link:"):
            links[target] = source[5:]
            continue
        try:
            tree[target] = contents(source, strip), 0o755 if os.access(source, os.X_OK) else 0o644
            for library in libraries(source):
                tree[library.lstrip("/")] = contents(library, False), 0o755
        except OSError as error:
            sys.exit(f"image.py: {source}: {error.strerror}")
    return tree, links


def entry(path, **fields):
    made = tarfile.TarInfo(path)
    for name, value in {"mode": 0o755, **fields}.items():
        setattr(made, name, value)
    return made


def layer(tree, links, capabilities):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as archive:
        folders = {path[:at.start()] for path in [*tree, *links] for at in re.finditer("/", path)}
        for path in sorted(folders):
            archive.addfile(entry(path, type=tarfile.DIRTYPE))
        for path, (data, mode) in sorted(tree.items()):
            made = entry(path, size=len(data), mode=mode)
            if path in capabilities:
                # tarfile writes values as UTF-8; every byte of this one is below 0x80.
                made.pax_headers = {"SCHILY.xattr.security.capability": capabilities[path].decode("ascii")}
            archive.addfile(made, io.BytesIO(data))
        for path, to in sorted(links.items()):
            archive.addfile(entry(path, type=tarfile.SYMTYPE, linkname=to, mode=0o777))
    return raw.getvalue()


def full_name(name):
    """The name with the registry that is meant: nodes look for lapse:1.0 as docker.io/library/lapse:1.0."""
    registry, slash, _ = name.partition("/")
    if slash and (registry == "localhost" or "." in registry or ":" in registry):
        return name
    return "docker.io/" + ("" if slash else "library/") + name


def image(options, tree, links):
    """The archive's members: an OCI image layout (image-spec 1.0) with one manifest."""
    members = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}

    def blob(kind, data):
        digest = hashlib.sha256(data).hexdigest()
        members["blobs/sha256/" + digest] = data
        return {"mediaType": MEDIA + kind, "digest": "sha256:" + digest, "size": len(data)}

    capabilities = {}
    for given in options.capability:
        path, _, text = given.partition("=")
        capabilities[path.lstrip("/")] = capability(text)
    if missing := capabilities.keys() - tree.keys():
        sys.exit(f"image.py: no such file in the image: /{missing.pop()}")
    plain = layer(tree, links, capabilities)
    architecture, variant = ARCHITECTURES.get(platform.machine(), (platform.machine(), None))
    on = {"architecture": architecture, "os": "linux", **({"variant": variant} if variant else {})}
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or 0)
    created = datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    running = {"Env": ["PATH=/usr/bin:/bin"], "User": options.user, "Entrypoint": options.entrypoint, "Cmd": options.cmd,
               "Labels": dict(label.split("=", 1) for label in options.label)}
    config = {**on, "created": created, "config": {name: value for name, value in running.items() if value},
              "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(plain).hexdigest()]},
              "history": [{"created": created, "created_by": "image.py"}]}
    packed = gzip.compress(plain, 9, mtime=0)
    manifest = {"schemaVersion": 2, "mediaType": MEDIA + "manifest.v1+json", "config": blob("config.v1+json", json.dumps(config).encode()),
                "layers": [blob("layer.v1.tar+gzip", packed)]}
    named = {"io.containerd.image.name": full_name(options.name), "org.opencontainers.image.ref.name": options.name.rpartition(":")[2]}
    index = {"schemaVersion": 2, "mediaType": MEDIA + "index.v1+json",
             "manifests": [{**blob("manifest.v1+json", json.dumps(manifest).encode()), "platform": on, "annotations": named}]}
    members["index.json"] = json.dumps(index).encode()
    print(f"{options.out}: {options.name}, linux/{architecture}, {len(tree)} files, {len(plain) / 1e6:.1f} MB, {len(packed) / 1e6:.1f} MB packed")
    return members


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("name")
    parser.add_argument("--entrypoint", action="append", default=[])
    parser.add_argument("--cmd", action="append", default=[])
    parser.add_argument("--user", default="")
    parser.add_argument("--label", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--capability", action="append", default=[], metavar="PATH=NAME+p")
    parser.add_argument("--strip", action="store_true", help="programs without symbols")
    parser.add_argument("files", nargs="+", metavar="SOURCE=TARGET")
    options = parser.parse_args()
    if not re.fullmatch(r"[a-z0-9][a-z0-9._/:-]*:[A-Za-z0-9_][A-Za-z0-9_.-]*", options.name):
        sys.exit(f"image.py: image name {options.name!r}: wanted is name:tag, as in lapse:1.0")
    members = image(options, *files(options.files, options.strip))
    beside = options.out + ".new"
    with tarfile.open(beside, "w") as archive:
        for name, data in members.items():
            archive.addfile(entry(name, size=len(data), mode=0o644), io.BytesIO(data))
    os.rename(beside, options.out)


main()
