"""Model bundles: find one from a source, check it, and write a self-contained one.

A bundle is a folder that loads with no network: GLiNER's own files, `bundle.json` (what it
is), `golden.json` (what it must answer) and `MODEL_CARD.md`.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from predictor import __version__, registry
from predictor.downloads import Downloads
from predictor.errors import BundleError

CONFIG = "gliner_config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?$")
_DEPTH = 4
"""How far below a folder a model is looked for: MLflow nests three deep."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `bundle.json` says.

    Attributes:
        id: the model's name, such as a hub id.
        revision: the model's version there.
        dataset_digest: SHA-256 of the training rows, where known.
        engine: the engine chosen for this model.
        precision: the precision chosen, `auto` where nothing was measured.
        measurements: the table behind that choice, a row an engine.
        created_with: our version that wrote the bundle.
    """

    id: str
    revision: str = ""
    dataset_digest: str = ""
    engine: str = "torch"
    precision: str = "auto"
    measurements: tuple[Mapping[str, Any], ...] = ()
    created_with: str = __version__


@dataclass(frozen=True, slots=True)
class Bundle:
    """A checked model folder.

    Attributes:
        folder: where GLiNER's files are.
        manifest: what it says of itself.
        digest: SHA-256 over the files that decide its answers.
        version: its number in the registry, where it came from there.
    """

    folder: Path
    manifest: Manifest = field(compare=False)
    digest: str
    version: str = ""


def locate(source: str) -> Bundle:
    """Find the model that a source names.

    Args:
        source: `embedded`; a folder; a folder that contains one model; a hub id, with
            `@revision` where wanted; `models:/NAME@ALIAS` or `models:/NAME/VERSION`, which is
            downloaded for as long as this process lives.

    Raises:
        BundleError: no model there, more than one, or one that is not safe to load.
    """
    if source == "embedded":
        from predictor import embedded

        return _check(embedded.path())
    if source.startswith(registry.SCHEME):
        wanted = registry.parse(source)
        reader = registry.Registry()
        return fetch(reader.find(wanted), reader, Downloads())
    path = Path(source)
    if path.is_dir():
        return _check(_only_model_below(path))
    if HUB_ID.match(source) and not path.exists():
        name, _, revision = source.partition("@")
        return _check(_download(name, revision), Manifest(id=name, revision=revision))
    raise BundleError(
        f"{source}: no such folder; a source is `embedded`, a folder with {CONFIG} in it or "
        "below it, a hub id such as urchade/gliner_medium-v2.1, or models:/NAME@ALIAS"
    )


def fetch(version: registry.Version, reader: registry.Registry, downloads: Downloads) -> Bundle:
    """Download a version of the registry and check it. What is wrong does not stay on the disk.

    Raises:
        BundleError: it is no model, or not the one that was registered.
        Unavailable: it cannot be had just now.
    """
    folder = downloads.get(version, reader)
    try:
        found = _check(
            _only_model_below(folder), Manifest(id=version.name, revision=version.number)
        )
        if version.digest and found.digest != version.digest:
            raise BundleError(
                f"version {version.number} of {version.name}: its files have the digest "
                f"{found.digest[:16]}…, its tag bundle_digest says {version.digest[:16]}…; they "
                "are not those that were registered"
            )
    except BundleError:
        downloads.discard(folder)
        raise
    return replace(found, version=version.number)


def _only_model_below(folder: Path) -> Path:
    """The folder itself or the one model folder below it (`/mnt/models`, MLflow's layout)."""
    if (folder / CONFIG).is_file():
        return folder
    patterns = ("/".join(["*"] * depth) + f"/{CONFIG}" for depth in range(1, _DEPTH + 1))
    found = sorted({match.parent for pattern in patterns for match in folder.glob(pattern)})
    if not found:
        raise BundleError(f"{folder}: no {CONFIG} here or up to {_DEPTH} folders below")
    if len(found) > 1:
        names = ", ".join(str(one.relative_to(folder)) for one in found)
        raise BundleError(f"{folder}: holds several models ({names}); name one of them")
    return found[0]


def _check(folder: Path, unwritten: Manifest | None = None) -> Bundle:
    """A folder as a bundle.

    Args:
        unwritten: the manifest of a model that comes without one; None names it after its
            folder, since callers see the name and not where it is on this machine.
    """
    config = _read_json(folder / CONFIG)
    if not any((folder / name).is_file() for name in WEIGHTS):
        raise BundleError(f"{folder}: no weights; {' or '.join(WEIGHTS)} is needed")
    for part in (config, config.get("encoder_config") or {}):
        # transformers would run Python that such a key names.
        if "auto_map" in part:
            raise BundleError(f"{folder / CONFIG}: auto_map asks to run code; it is not trusted")
    manifest_file = folder / "bundle.json"
    if manifest_file.is_file():
        manifest = _manifest(manifest_file)
    else:
        manifest = unwritten or Manifest(id=folder.resolve().name)
    return Bundle(folder, manifest, digest(folder))


def _manifest(file: Path) -> Manifest:
    raw = _read_json(file)
    known = set(Manifest.__dataclass_fields__)
    if unknown := sorted(set(raw) - known):
        raise BundleError(
            f"{file}: unknown field {unknown[0]!r}; known: {', '.join(sorted(known))}"
        )
    for name in ("id", "revision", "engine", "precision"):
        if not isinstance(raw.get(name, None if name == "id" else ""), str):
            raise BundleError(f"{file}: field {name!r} must be a string")
    return Manifest(**{**raw, "measurements": tuple(raw.get("measurements", ()))})


def _read_json(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{file}: cannot read: {error}") from error
    if not isinstance(value, dict):
        raise BundleError(f"{file}: must hold a JSON object")
    return value


def digest(folder: Path) -> str:
    """SHA-256 over the names and contents of the files that decide a model's answers."""
    total = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.is_file() and (file.name in WEIGHTS or _decides(file.name)):
            total.update(file.name.encode())
            with file.open("rb") as stream:
                while chunk := stream.read(1 << 20):
                    total.update(chunk)
    return total.hexdigest()


def _decides(name: str) -> bool:
    return name == CONFIG or name.startswith(("tokenizer", "spm.", "vocab", "added_tokens"))


def _download(repository: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    source = f"{repository}@{revision}" if revision else repository
    try:
        return Path(snapshot_download(repository, revision=revision or None))
    except LocalEntryNotFoundError as error:
        raise BundleError(
            f"{source}: the hub cannot be reached and the model is not in its cache; on a machine "
            f"with a network run `python -m predictor bundle {source} FOLDER`, copy the folder "
            "here and name it instead"
        ) from error
    except (HfHubHTTPError, ValueError, OSError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise BundleError(f"{source}: the hub does not give this model: {first_line}") from error


def write(source: str, out: Path) -> Bundle:
    """Write a self-contained bundle of the model that a source names.

    The folder holds safetensors weights and the encoder's configuration and tokenizer, so it
    never calls a hub, and golden answers recorded from the very files that were written.

    Raises:
        BundleError: the source is no model, or `out` exists and is not empty.
    """
    from predictor import golden
    from predictor.engines.exported import ONNX
    from predictor.engines.torch import TorchEngine
    from predictor.extraction import Extractor

    found = locate(source)
    if out.exists() and any(out.iterdir()):
        raise BundleError(f"{out}: not empty; name a new folder")
    out.mkdir(parents=True, exist_ok=True)
    if _self_contained(found.folder):
        for file in found.folder.iterdir():
            if file.is_file() and file.name not in ("golden.json", "pytorch_model.bin"):
                shutil.copyfile(file, out / file.name)
        # Hub repositories have folders of that name too, with GLiNER's own export.
        if found.manifest.engine == "onnx" and (found.folder / ONNX).is_dir():
            shutil.copytree(found.folder / ONNX, out / ONNX)
    else:
        _save_with_encoder(found, out)
    (out / "bundle.json").write_text(
        json.dumps(asdict(found.manifest), indent=2, sort_keys=True) + "\n", encoding="utf-8"
    )
    card = out / "MODEL_CARD.md"
    if not card.exists():
        readme = found.folder / "README.md"
        text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
        card.write_text(
            text or f"# {found.manifest.id}\n\nNo card came with the model.\n", encoding="utf-8"
        )
    written = _check(out)
    # Recorded in fp32 on the CPU: the reference that other precisions are held against.
    extractor = Extractor(TorchEngine.load(written.folder, device="cpu", precision="fp32"))
    golden.record(extractor, out / golden.FILE)
    return written


def _self_contained(folder: Path) -> bool:
    config = _read_json(folder / CONFIG)
    return (
        bool(config.get("encoder_config"))
        and (folder / "tokenizer_config.json").is_file()
        and (folder / "model.safetensors").is_file()
    )


def _save_with_encoder(found: Bundle, out: Path) -> None:
    """Load a checkpoint that leans on a hub for its encoder, and save all of it."""
    from predictor.engines import checkpoint

    model = checkpoint.load(found.folder, "cpu", "fp32", offline=False)
    model.save_pretrained(str(out), safe_serialization=True)
