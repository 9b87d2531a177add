"""The layout of WebDataset: uncompressed `.tar` files, in each the members of a sample side by side under one key.

`key.jpg` (any ending that Pillow reads) is the picture; `key.txt` its caption, or `key.json` an object with `text` or
`caption` (one or a list) and where wanted `group` and `split`. The key is the member's path up to the first dot of its
last part. Other members are left alone. Nothing is unpacked: a picture is read from its place in the shard.
"""

import json
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from stages.data.entries import Caption
from stages.data.folder.catalogue import Catalogue
from stages.data.folder.checks import (
    MAX_TEXT,
    check_captions,
    check_inside,
    check_name,
    check_tag,
    decode,
    picture_suffixes,
    short,
)
from stages.errors import StageError


class _Member(NamedTuple):
    name: str
    key: str
    suffix: str
    span: tuple[int, int]
    text: bytes | None


def read_shards(root: Path, shards: Iterable[Path]) -> Catalogue:
    """Every picture of the shards, named `shard.tar/key.jpg`.

    Raises:
        StageError: a shard is broken, a member leads out of it or is a link, or a sample lacks picture or caption.
    """
    resolved = root.resolve()
    catalogue = Catalogue(root, root, lambda name, _: "{}, member {}".format(root / name.partition("/")[0],
                                                                             name.partition("/")[2]))  # fmt: skip
    for shard in shards:
        check_inside(shard, str(shard), resolved)
        sample: list[_Member] = []
        for member in _members(shard):
            if sample and sample[0].key != member.key:
                _add(catalogue, shard, sample)
                sample = []
            sample.append(member)
        if sample:
            _add(catalogue, shard, sample)
    if not len(catalogue):
        raise StageError(f"{root}: its shards hold no pictures: add members key.jpg with key.txt")
    return catalogue.finish()


def _members(shard: Path) -> Iterator[_Member]:
    """The pictures and texts of a shard, in their order."""
    pictures = picture_suffixes()
    try:
        with tarfile.open(shard, "r:") as archive:
            while (info := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # tarfile would keep every one
                place = f"{shard}, member {info.name}"
                name = check_name(info.name, place, shard)
                if info.isdir():
                    continue
                if not info.isreg() or info.sparse is not None:
                    raise StageError(f"{place}: a link or device, not a plain file: put the file itself there")
                key, suffix = _key(name)
                if PurePosixPath(name).name.startswith((".", "__")) or suffix not in pictures | {".txt", ".json"}:
                    continue
                yield _Member(name, key, suffix, (info.offset_data, info.size), _text(archive, info, suffix))
            _check_end(archive)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise StageError(f"{shard}: not a whole .tar file ({error}): fetch or write it again, uncompressed") from None


def _check_end(archive: tarfile.TarFile) -> None:
    """A whole archive ends in zeros; tarfile takes a header that is cut short or spoilt for the end as well."""
    with open(str(archive.name), "rb") as file:
        file.seek(archive.offset)
        if file.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
            raise tarfile.ReadError("cut short or spoilt within")


def _key(name: str) -> tuple[str, str]:
    """A member's key and, in lower case, what follows it, with its dot."""
    folder, _, last = name.rpartition("/")
    stem, dot, suffix = last.partition(".")
    return f"{folder}/{stem}", (dot + suffix).lower()


def _text(archive: tarfile.TarFile, info: tarfile.TarInfo, suffix: str) -> bytes | None:
    """What a text member holds, at most one byte more than a text may have."""
    if suffix not in (".txt", ".json"):
        return None
    file = archive.extractfile(info)
    assert file is not None  # a plain file, as was checked
    return file.read(MAX_TEXT + 1)


def _add(catalogue: Catalogue, shard: Path, sample: list[_Member]) -> None:
    """Adds the pictures of a sample with its captions."""
    pictures = [member for member in sample if member.text is None]
    texts = {member.suffix: member for member in sample if member.text is not None}
    if not pictures:
        place = f"{shard}, member {sample[0].name}"
        raise StageError(f"{place}: there is no picture next to it: add the picture or remove the member")
    first = pictures[0]
    place = f"{shard}, member {first.name}"
    record = _record(texts.get(".json"), shard)
    written = texts.get(".txt")
    if written is not None:
        text: object = decode(written.text or b"", f"{shard}, member {written.name}")
    else:
        text = record.get("text", record.get("caption"))
        if text is None:
            key = PurePosixPath(first.name).name.partition(".")[0]
            raise StageError(f"{place}: has no caption: add {key}.txt, or {key}.json with 'text', right next to it")
    split = check_tag(record, "split", place)
    captions = [Caption(line, split=split) for line in check_captions(text, first.name, place)]
    group = check_tag(record, "group", place)
    for member in pictures:
        if not catalogue.add(f"{shard.name}/{member.name}", captions, group=group, span=member.span):
            raise StageError(f"{shard}, member {member.name}: is there twice: remove one")


def _record(member: _Member | None, shard: Path) -> dict[str, Any]:
    """The object in a `.json` member; an empty one where there is none."""
    if member is None:
        return {}
    place = f"{shard}, member {member.name}"
    try:
        record = json.loads(decode(member.text or b"", place))
    except (ValueError, RecursionError) as error:
        raise StageError(f"{place}: not JSON ({error}): correct it") from None
    if not isinstance(record, dict):
        raise StageError(f"{place}: expected a JSON object, got {short(record)}: correct it")
    return record
