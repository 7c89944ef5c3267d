"""A remote cache that an attacker, a bad disk or a collector of garbage was at: one thing is done to it, at random.

Each gives whether a run that then uses it may be told of nothing: where what was done is not to be noticed.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from c2wtasks.remote import claim as claims
from c2wtasks.remote.claim import Claim, Envelope
from c2wtasks.remote.packed import unpack
from c2wtasks.remote.transport import Name
from c2wtasks.remote.trust import key_id, signed
from tests.remote.sharing import KEYS, STRANGER, Shop

Poison = Callable[[Shop, random.Random], bool]


def _files(shop: Shop, rng: random.Random) -> list[Path]:
    found = sorted(path for path in shop.cache.rglob("*") if path.is_file())
    rng.shuffle(found)
    return found


def flip(shop: Shop, rng: random.Random) -> bool:
    """A bit is another, in any file."""
    path = _files(shop, rng)[0]
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return True


def truncate(shop: Shop, rng: random.Random) -> bool:
    """A file ends early."""
    path = _files(shop, rng)[0]
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content))])
    return True


def lengthen(shop: Shop, rng: random.Random) -> bool:
    """A file has more at its end."""
    path = _files(shop, rng)[0]
    path.write_bytes(path.read_bytes() + rng.randbytes(rng.choice((1, 100, 100_000))))
    return True


def evict(shop: Shop, rng: random.Random) -> bool:
    """Files are gone."""
    for path in _files(shop, rng)[: rng.randint(1, 4)]:
        path.unlink()
    return True


def swap(shop: Shop, rng: random.Random) -> bool:
    """Two files of a kind have each other's name."""
    kind = rng.choice(("claims", "blobs"))
    one, other = [path for path in _files(shop, rng) if kind in path.parts][:2]
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    return True


def garbage(shop: Shop, rng: random.Random) -> bool:
    """A file is another thing altogether."""
    path = _files(shop, rng)[0]
    path.write_bytes(rng.choice((b"", b"null", b"{}", b"[" * 50_000, rng.randbytes(500), b"\x28\xb5\x2f\xfd" * 50)))
    return True


def link(shop: Shop, rng: random.Random) -> bool:
    """A file is a link, which leads elsewhere."""
    path = _files(shop, rng)[0]
    (shop.folder / "elsewhere").write_bytes(path.read_bytes() + b"secret")
    path.unlink()
    path.symlink_to(shop.folder / "elsewhere")
    return True


def _claim(shop: Shop, rng: random.Random) -> tuple[Path, Claim]:
    path = next(path for path in _files(shop, rng) if "claims" in path.parts)
    return path, claims.decode_claim(claims.decode_envelope(path.read_bytes()))


def _put(shop: Shop, path: Path, envelope: Envelope) -> None:
    """Puts a claim where one was, and into the index, in the place of whatever was there under its key."""
    path.write_bytes(claims.encode(envelope))
    index = shop.cache / "indexes/main.all"
    old = claims.decode_index(unpack(index.read_bytes(), claims.MAX_INDEX))
    before = claims.decode_claim(claims.decode_envelope(path.read_bytes()))
    kept = [one for one in old if claims.decode_claim(one).key != before.key]
    import zstandard

    index.write_bytes(zstandard.compress(claims.encode_index([*kept, envelope])))


def _lying(shop: Shop, claim: Claim, rng: random.Random) -> Claim:
    """The claim with the outputs of another content, which is there."""
    import hashlib

    content = rng.randbytes(100)
    digest = hashlib.sha256(content).hexdigest()
    folder = shop.cache / f"blobs/{digest[:2]}"
    folder.mkdir(exist_ok=True)
    (folder / digest).write_bytes(content)
    outputs = tuple(claims.Output(one.name, digest, 100) for one in claim.outputs)
    return msgspec.structs.replace(claim, outputs=outputs)


def forge(shop: Shop, rng: random.Random) -> bool:
    """A stranger claims something else, in his name or in that of who is trusted."""
    path, claim = _claim(shop, rng)
    envelope = signed(_lying(shop, claim, rng), STRANGER)
    if rng.random() < 0.5:
        name = key_id(KEYS[0].public_key())
        envelope = msgspec.structs.replace(
            envelope, signatures=(msgspec.structs.replace(envelope.signatures[0], keyid=name),)
        )
    _put(shop, path, envelope)
    return False


def foreign(shop: Shop, rng: random.Random) -> bool:
    """Who is trusted has claimed something else, in another scope."""
    path, claim = _claim(shop, rng)
    _put(shop, path, signed(msgspec.structs.replace(_lying(shop, claim, rng), scope="pr-7"), KEYS[0]))
    return False


def replay(shop: Shop, rng: random.Random) -> bool:
    """What who is trusted claims of one thing stands where another is looked for."""
    path, claim = _claim(shop, rng)
    _, other = _claim(shop, rng)
    envelope = signed(msgspec.structs.replace(other, kind=claim.kind), KEYS[0])
    if (other.kind, other.key) == (claim.kind, claim.key):
        return True
    path.write_bytes(claims.encode(envelope))
    (shop.cache / "indexes/main.all").unlink()
    return False


def revoke(shop: Shop, rng: random.Random) -> bool:
    """Who is trusted no more has claimed something else."""
    path, claim = _claim(shop, rng)
    name = Name(claim.kind, claim.key, key_id(KEYS[1].public_key()))
    path.unlink()
    path = shop.cache / name.path
    path.write_bytes(b"")
    _put(shop, path, signed(_lying(shop, claim, rng), KEYS[1]))
    return False


POISONS: tuple[Poison, ...] = (
    *(flip, truncate, lengthen, evict, swap, garbage, link, forge, foreign, replay, revoke),
)


def rounds(shop: Shop, count: int, seed: int) -> dict[str, int]:
    """So many builds, each of a remote cache to which one thing was done. Gives how often each was.

    Raises AssertionError: a byte is wrong, or something was told that is not so.
    """
    good = shop.folder / "good"
    if not good.exists():
        shop.write(KEYS[0])
        shop.cache.rename(good)
    done: dict[str, int] = {}
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        shutil.rmtree(shop.cache, ignore_errors=True)
        shutil.copytree(good, shop.cache)
        poison = POISONS[number % len(POISONS)]
        may_be_silent = poison(shop, rng)
        made = shop.build(shop.remote())
        said = f"round {number} of seed {seed}, {poison.__name__}: {made.lines}"
        assert made.files == shop.truth, said
        assert made.count("off") <= 1, said
        told = [line for line in made.lines if "results taken" not in line and "result taken" not in line]
        assert len(told) <= 2, said
        assert all("\n" not in line and len(line) < 1000 for line in told), said
        # An index that lists nothing hinders nobody: what is kept by itself is found.
        assert told or made.count("hit") or may_be_silent, said
        if not may_be_silent:
            assert any("not believed" in line for line in told), said
        done[poison.__name__] = done.get(poison.__name__, 0) + 1
    return done
