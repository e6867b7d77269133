"""The container image: what `make image` puts into it. How it behaves in a cluster is for tests/kubernetes."""
import gzip
import json
import os
import re
import subprocess
import tarfile

from .harness import case, expect, run

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")


def build(pod, name, tag="test.example/lapse:1", **environment):
    path = f"{pod.scratch}/{name}.oci.tar"
    done = subprocess.run([f"{ROOT}/charts/image/lapse.sh", os.path.dirname(pod.context.init), path, tag, "1.2.3"],
                          capture_output=True, text=True, env={**os.environ, **environment})
    return path, done


def members(path):
    with tarfile.open(path) as archive:
        return {each.name: archive.extractfile(each).read() for each in archive}


def blob(image, descriptor):
    return image["blobs/" + descriptor["digest"].replace(":", "/")]


def unpack(pod, path):
    """The image's configuration, its files' tar entries, and a directory that holds them."""
    image = members(path)
    described = json.loads(image["index.json"])["manifests"][0]
    manifest = json.loads(blob(image, described))
    root, packed = f"{pod.scratch}/root", f"{pod.scratch}/layer.tar"
    with open(packed, "wb") as file:
        file.write(gzip.decompress(blob(image, manifest["layers"][0])))
    with tarfile.open(packed) as archive:
        archive.extractall(root)
        return json.loads(blob(image, manifest["config"])), archive.getmembers(), root, described


NAMES = {"lapse:1": "docker.io/library/lapse:1", "acme/lapse:1": "docker.io/acme/lapse:1", "localhost/lapse:1": "localhost/lapse:1",
         "registry:5000/lapse:1": "registry:5000/lapse:1"}


@case(release_only=True, each=NAMES)
def names(pod, wanted):
    """The image has the name that nodes look for: one without a registry is docker.io's."""
    given = next(name for name in NAMES if NAMES[name] == wanted)
    path, done = build(pod, "named", given)
    expect(done.returncode == 0, done.stderr)
    described = unpack(pod, path)[3]["annotations"]
    expect(described["io.containerd.image.name"] == wanted and described["org.opencontainers.image.ref.name"] == "1", str(described))


@case(release_only=True)
def image(pod):
    """make image: the two programs and their libraries, no user, lapse-init with its capability, the same bytes each time."""
    path, done = build(pod, "first")
    expect(done.returncode == 0, done.stderr)
    with open(path, "rb") as one, open(build(pod, "second")[0], "rb") as two:
        expect(one.read() == two.read(), "two images of the same programs differ")
    config, entries, root, described = unpack(pod, path)
    running = config["config"]
    expect("User" not in running and running["Cmd"] == ["lapse-proxy"], str(running))
    expect(running["Labels"]["org.opencontainers.image.version"] == "1.2.3", str(running))
    expect(described["annotations"]["io.containerd.image.name"] == "test.example/lapse:1", str(described))
    files = [each.name for each in entries if not each.isdir()]
    others = [name for name in files if not re.search(r"(^|/)lib[a-z0-9._-]*\.so\.|/ld-linux[^/]*$", name)]
    expect(sorted(others) == ["usr/bin/lapse-init", "usr/bin/lapse-proxy"], f"more than programs and libraries: {others}")
    capable = {each.name: each.pax_headers for each in entries if each.pax_headers}
    expect(list(capable) == ["usr/bin/lapse-init"], str(capable))
    # Revision 2 without the effective bit; CAP_NET_ADMIN, number 12, permitted (linux/capability.h).
    given = capable["usr/bin/lapse-init"]["SCHILY.xattr.security.capability"].encode("latin-1")
    expect(given == bytes.fromhex("00000002" "00100000" + "00" * 12), given.hex())
    for program in ("lapse-init", "lapse-proxy"):
        said = subprocess.run(["chroot", root, f"/usr/bin/{program}", "--version"], capture_output=True, text=True)
        expect(said.returncode == 0 and said.stdout.startswith(program), f"{program} in the image: {said}")
    size = sum(each.size for each in entries)
    expect(size < 6e6, f"the image holds {size} bytes")


@case(release_only=True)
def image_dated(pod):
    """SOURCE_DATE_EPOCH is the image's date; a name without a tag is refused."""
    path, _ = build(pod, "dated", SOURCE_DATE_EPOCH="1767322845")
    expect(unpack(pod, path)[0]["created"] == "2026-01-02T03:00:45Z", "not its date")
    path, done = build(pod, "nameless", tag="lapse")
    expect(done.returncode == 1 and "'lapse'" in done.stderr and "name:tag" in done.stderr, f"{done}")
    expect(not os.path.exists(path), "an image without a name was written")


@case(release_only=True)
def file_capability(pod):
    """As any uid the image's lapse-init works with NET_ADMIN in reach, and says what is missing without."""
    with open(pod.context.init, "rb") as program, open(f"{pod.scratch}/lapse-init", "wb") as copy:
        copy.write(program.read())
    os.chmod(copy.name, 0o755)
    run(["setcap", "cap_net_admin+p", copy.name])

    def as_somebody(bounding, *arguments):
        user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all", f"--bounding-set=-all{bounding}"]
        return pod.inside.run([*user, copy.name, *arguments], check=False)
    done = as_somebody(",+net_admin")
    expect(done.returncode == 0 and pod.inside.run(["nft", "list", "table", "inet", "lapse"]).returncode == 0, f"{done}")
    pod.inside.run(["nft", "delete", "table", "inet", "lapse"])
    done = as_somebody("")
    expect(done.returncode == 1 and "CAP_NET_ADMIN" in done.stderr, f"{done}")
    done = as_somebody("", "--version")
    expect(done.returncode == 0 and done.stdout.startswith("lapse-init "), f"{done}")
