"""The hashes that TensorFlow puts strings into buckets by.

StringToHashBucketFast: FarmHash's Fingerprint64 (G. Pike, https://github.com/google/farmhash,
farmhash.cc, namespace farmhashna). StringToHashBucketStrong: SipHash-2-4 (J.-P. Aumasson and
D. J. Bernstein, 2012). StringToHashBucket: TensorFlow's Hash64 (tsl/platform/hash.cc, after
A. Appleby's MurmurHash64A).
"""

from __future__ import annotations

from collections.abc import Sequence

MASK = 2**64 - 1
K0, K1, K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F
MURMUR, SEED = 0xC6A4A7935BD1E995, 0xDECAFCAFFE
SIP = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)


def fingerprint64(text: bytes) -> int:
    """FarmHash's Fingerprint64, 0 to 2**64 - 1."""
    size = len(text)
    if size <= 16:
        return _up_to_16(text)
    if size <= 32:
        return _up_to_32(text)
    if size <= 64:
        return _up_to_64(text)
    x = (81 * K2 + _word(text, 0)) & MASK
    y = (81 * K1 + 113) & MASK
    z = (_mixed((y * K2 + 113) & MASK) * K2) & MASK
    v, w = (0, 0), (0, 0)
    for place in range(0, (size - 1) // 64 * 64, 64):
        x, y, z, v, w = _round(text, place, x, y, z, v, w, K1, 1)
    rest = (size - 1) & 63
    factor = (K1 + ((z & 0xFF) << 1)) & MASK
    first = w[0] + rest
    v = ((v[0] + first) & MASK, v[1])
    w = ((first + v[0]) & MASK, w[1])
    x, y, z, v, w = _round(text, size - 64, x, y, z, v, w, factor, 9)
    return _of_16(
        _of_16(v[0], w[0], factor) + _mixed(y) * K0 + z,
        _of_16(v[1], w[1], factor) + x,
        factor,
    )


def siphash(text: bytes, key: Sequence[int]) -> int:
    """SipHash-2-4 under a key of two words, 0 to 2**64 - 1."""
    a, b, c, d = (start ^ key[place % 2] for place, start in enumerate(SIP))
    whole = len(text) // 8 * 8
    end = int.from_bytes(text[whole:], "little") | (len(text) & 0xFF) << 56
    for word in (*(_word(text, place) for place in range(0, whole, 8)), end):
        d ^= word
        a, b, c, d = _sip_round(*_sip_round(a, b, c, d))
        a ^= word
    c ^= 0xFF
    for _ in range(4):
        a, b, c, d = _sip_round(a, b, c, d)
    return a ^ b ^ c ^ d


def hash64(text: bytes) -> int:
    """TensorFlow's Hash64 with its usual seed, 0 to 2**64 - 1."""
    found = (SEED ^ (len(text) * MURMUR)) & MASK
    whole = len(text) // 8 * 8
    for place in range(0, whole, 8):
        word = (_word(text, place) * MURMUR) & MASK
        found = ((found ^ ((word ^ (word >> 47)) * MURMUR) & MASK) * MURMUR) & MASK
    if whole < len(text):
        found = ((found ^ int.from_bytes(text[whole:], "little")) * MURMUR) & MASK
    found = ((found ^ (found >> 47)) * MURMUR) & MASK
    return found ^ (found >> 47)


def _word(text: bytes, place: int) -> int:
    return int.from_bytes(text[place : place + 8], "little")


def _turned(value: int, by: int) -> int:
    value &= MASK
    return value >> by | (value << (64 - by)) & MASK


def _mixed(value: int) -> int:
    value &= MASK
    return value ^ (value >> 47)


def _of_16(u: int, v: int, factor: int) -> int:
    v &= MASK
    a = _mixed(((u & MASK) ^ v) * factor)
    return (_mixed((v ^ a) * factor) * factor) & MASK


def _up_to_16(text: bytes) -> int:
    size = len(text)
    factor = K2 + size * 2
    if size >= 8:
        a, b = _word(text, 0) + K2, _word(text, size - 8)
        c = _turned(b, 37) * factor + a
        return _of_16(c, (_turned(a, 25) + b) * factor, factor)
    if size >= 4:
        a = int.from_bytes(text[:4], "little")
        return _of_16(size + (a << 3), int.from_bytes(text[-4:], "little"), factor)
    if size:
        y = text[0] + (text[size >> 1] << 8)
        z = size + (text[-1] << 2)
        return (_mixed((y * K2) & MASK ^ (z * K0) & MASK) * K2) & MASK
    return K2


def _up_to_32(text: bytes) -> int:
    size = len(text)
    factor = K2 + size * 2
    a, b = _word(text, 0) * K1, _word(text, 8)
    c, d = _word(text, size - 8) * factor, _word(text, size - 16) * K2
    return _of_16(_turned(a + b, 43) + _turned(c, 30) + d, a + _turned(b + K2, 18) + c, factor)


def _up_to_64(text: bytes) -> int:
    size = len(text)
    factor = K2 + size * 2
    a, b = _word(text, 0) * K2, _word(text, 8)
    c, d = _word(text, size - 8) * factor, _word(text, size - 16) * K2
    y = _turned(a + b, 43) + _turned(c, 30) + d
    z = _of_16(y, a + _turned(b + K2, 18) + c, factor)
    e, f = _word(text, 16) * factor, _word(text, 24)
    g, h = (y + _word(text, size - 32)) * factor, (z + _word(text, size - 24)) * factor
    return _of_16(_turned(e + f, 43) + _turned(g, 30) + h, e + _turned(f + a, 18) + g, factor)


Pair = tuple[int, int]


def _weak(text: bytes, place: int, a: int, b: int) -> Pair:
    w, x, y, z = (_word(text, place + 8 * each) for each in range(4))
    a += w
    b = _turned(b + a + z, 21)
    c = a
    a += x + y
    return (a + z) & MASK, (b + _turned(a, 44) + c) & MASK


def _round(
    text: bytes, place: int, x: int, y: int, z: int, v: Pair, w: Pair, factor: int, times: int
) -> tuple[int, int, int, Pair, Pair]:
    x = _turned(x + y + v[0] + _word(text, place + 8), 37) * factor
    y = _turned(y + v[1] + _word(text, place + 48), 42) * factor
    x = (x ^ (w[1] * times)) & MASK
    y = (y + v[0] * times + _word(text, place + 40)) & MASK
    z = (_turned(z + w[0], 33) * factor) & MASK
    v = _weak(text, place, v[1] * factor, x + w[0])
    w = _weak(text, place + 32, z + w[1], y + _word(text, place + 16))
    return z, y, x, v, w


def _sip_round(a: int, b: int, c: int, d: int) -> tuple[int, int, int, int]:
    a, c = (a + b) & MASK, (c + d) & MASK
    b, d = _turned(b, 51) ^ a, _turned(d, 48) ^ c
    a = _turned(a, 32)
    c, a = (c + b) & MASK, (a + d) & MASK
    b, d = _turned(b, 47) ^ c, _turned(d, 43) ^ a
    return a, b, _turned(c, 32), d
