#!/usr/bin/env python3
"""Makes OCI images of the Dockerfile's last stages, without a Docker engine.

    oci.py DOCKERFILE CONTENT LAYOUT TAG [ARCHITECTURE...]

Those stages start from nothing and only copy, so that all it takes is to read them. What `COPY
--from=build /out/X/ /` takes is the folder CONTENT/ARCHITECTURE/X. Each stage becomes an image layout in
the folder LAYOUT/STAGE: an index TAG over all architectures, and TAG-ARCHITECTURE for each. The same
content gives the same digests.
"""

import gzip
import hashlib
import io
import json
import pathlib
import shutil
import sys
import tarfile

OCI = "application/vnd.oci.image."


def stages(dockerfile):
    """The stages that start from nothing: {name: [(instruction, rest)]}."""
    found, current = {}, None
    for line in dockerfile.replace("\\\n", " ").splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        instruction, rest = line.split(None, 1)
        if instruction == "FROM":
            words = rest.split()
            current = found.setdefault(words[-1], []) if words[0] == "scratch" else None
        elif current is not None:
            current.append((instruction, rest))
    return found


def layer(folder):
    """A folder as a layer, owned by root and without times: (blob, digest of what is in it)."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.PAX_FORMAT) as into:
        for path in sorted(folder.rglob("*")):
            item = into.gettarinfo(path, path.relative_to(folder).as_posix())
            item.uid = item.gid = item.mtime = 0
            item.uname = item.gname = ""
            with path.open("rb") if path.is_file() else io.BytesIO() as content:
                into.addfile(item, content)
    tar = tar.getvalue()
    return gzip.compress(tar, 9, mtime=0), "sha256:" + hashlib.sha256(tar).hexdigest()


class Layout:
    def __init__(self, folder):
        self.folder, self.manifests = folder, []
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "blobs/sha256").mkdir(parents=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def add(self, kind, blob):
        """Stores bytes, or what becomes JSON, and says how to refer to it."""
        if not isinstance(blob, bytes):
            blob = json.dumps(blob, separators=(",", ":")).encode()
        digest = hashlib.sha256(blob).hexdigest()
        (self.folder / "blobs/sha256" / digest).write_bytes(blob)
        return {"mediaType": OCI + kind, "digest": f"sha256:{digest}", "size": len(blob)}

    def tag(self, reference, name):
        tagged = {**reference, "annotations": {"org.opencontainers.image.ref.name": name}}
        self.manifests.append(tagged)
        index = {"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": self.manifests}
        (self.folder / "index.json").write_text(json.dumps(index, indent=1))


def build(instructions, content, architecture, layout):
    config, layers, inside = {}, [], []
    for instruction, rest in instructions:
        if instruction == "COPY":
            source, target = rest.removeprefix("--from=build ").split()
            if not rest.startswith("--from=build /out/") or target != "/":
                sys.exit(f"oci.py: cannot do COPY {rest}")
            blob, digest = layer(content / architecture / source.removeprefix("/out/"))
            layers.append(layout.add("layer.v1.tar+gzip", blob))
            inside.append(digest)
        elif instruction in ("ENTRYPOINT", "CMD"):
            config[instruction.capitalize()] = json.loads(rest)
        elif instruction == "USER":
            config["User"] = rest
        elif instruction == "ENV":
            config.setdefault("Env", []).extend(rest.split())
        elif instruction == "HEALTHCHECK":
            pass  # Docker's alone: images of the OCI have no place for it
        elif instruction == "EXPOSE":
            config["ExposedPorts"] = {f"{port}/tcp": {} for port in rest.split()}
        else:
            sys.exit(f"oci.py: cannot do {instruction}")
    image = {
        "architecture": architecture,
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": inside},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI + "manifest.v1+json",
        "config": layout.add("config.v1+json", image),
        "layers": layers,
    }
    platform = {"architecture": architecture, "os": "linux"}
    reference = {**layout.add("manifest.v1+json", manifest), "platform": platform}
    return reference, sum(it["size"] for it in layers)


def main(dockerfile, content, layouts, tag, *architectures):
    for name, instructions in stages(pathlib.Path(dockerfile).read_text()).items():
        layout = Layout(pathlib.Path(layouts) / name)
        built = [
            build(instructions, pathlib.Path(content), it, layout) for it in architectures
        ]
        references = [reference for reference, _ in built]
        index = {"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": references}
        layout.tag(layout.add("index.v1+json", index), tag)
        for architecture, (reference, size) in zip(architectures, built):
            layout.tag(reference, f"{tag}-{architecture}")
            print(f"images: {name} {architecture}: {size / 1e6:.1f} MB compressed")


main(*sys.argv[1:])
