"""ristretto255 (RFC 9496) in plain Python: slow, and nothing in it is secret here."""

from __future__ import annotations

from fairlead.verifier.finding import require

PRIME = 2**255 - 19
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, PRIME) % PRIME
_ROOT_M1 = pow(2, (PRIME - 1) // 4, PRIME)
_ONE_MINUS_D_SQ = (1 - _D * _D) % PRIME
_D_MINUS_ONE_SQ = (_D - 1) ** 2 % PRIME
_NO_POINT = "holds octets that are no group element"

Point = tuple[int, int, int, int]
NEUTRAL: Point = (0, 1, 1, 0)


def _positive(value: int) -> int:
    value %= PRIME
    return PRIME - value if value & 1 else value


def _ratio_root(u: int, v: int) -> tuple[bool, int]:
    """SQRT_RATIO_M1 (RFC 9496, 4.2)."""
    v3 = v * v * v % PRIME
    root = u * v3 * pow(u * v3 * v3 * v, (PRIME - 5) // 8, PRIME) % PRIME
    check = v * root * root % PRIME
    flipped = check == -u % PRIME
    flipped_i = check == -u * _ROOT_M1 % PRIME
    if flipped or flipped_i:
        root = root * _ROOT_M1 % PRIME
    return check == u % PRIME or flipped, _positive(root)


_, _INVSQRT_A_MINUS_D = _ratio_root(1, (-1 - _D) % PRIME)
_SQRT_AD_MINUS_ONE = PRIME - _ratio_root((-_D - 1) % PRIME, 1)[1]


def decode_point(octets: bytes) -> Point:
    """The point of 32 octets. :raises EvidenceFailed: not its one encoding, or the identity."""
    require(len(octets) == 32 and any(octets), _NO_POINT)
    s = int.from_bytes(octets, "little")
    require(s < PRIME and not s & 1, _NO_POINT)
    square = s * s % PRIME
    u1, u2 = (1 - square) % PRIME, (1 + square) % PRIME
    u2_sq = u2 * u2 % PRIME
    v = (-(_D * u1 * u1) - u2_sq) % PRIME
    whole, inverse = _ratio_root(1, v * u2_sq % PRIME)
    den_x = inverse * u2 % PRIME
    x = _positive(2 * s * den_x)
    y = u1 * inverse * den_x * v % PRIME
    t = x * y % PRIME
    require(whole and not t & 1 and y, _NO_POINT)
    return x, y, 1, t


def encode_point(point: Point) -> bytes:
    """Its one encoding (RFC 9496, 4.3.2)."""
    x, y, z, t = point
    u1, u2 = (z + y) * (z - y) % PRIME, x * y % PRIME
    _, inverse = _ratio_root(1, u1 * u2 * u2 % PRIME)
    den1, den2 = inverse * u1 % PRIME, inverse * u2 % PRIME
    z_inverse = den1 * den2 * t % PRIME
    if t * z_inverse % PRIME & 1:
        x, y = y * _ROOT_M1 % PRIME, x * _ROOT_M1 % PRIME
        den2 = den1 * _INVSQRT_A_MINUS_D % PRIME
    if x * z_inverse % PRIME & 1:
        y = -y
    return _positive(den2 * (z - y)).to_bytes(32, "little")


def add_points(one: Point, other: Point) -> Point:
    """The sum (extended coordinates, a = -1)."""
    x1, y1, z1, t1 = one
    x2, y2, z2, t2 = other
    a, b = (y1 - x1) * (y2 - x2) % PRIME, (y1 + x1) * (y2 + x2) % PRIME
    c, d = 2 * t1 * t2 * _D % PRIME, 2 * z1 * z2 % PRIME
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % PRIME, g * h % PRIME, f * g % PRIME, e * h % PRIME


def _doubled(point: Point) -> Point:
    x, y, z, _ = point
    a, b, c = x * x % PRIME, y * y % PRIME, 2 * z * z % PRIME
    h = a + b
    e, g = h - (x + y) ** 2 % PRIME, a - b
    f = c + g
    return e * f % PRIME, g * h % PRIME, f * g % PRIME, e * h % PRIME


def times(scalar: int, point: Point) -> Point:
    """``scalar`` times a point, four bits at a time."""
    table = [NEUTRAL, point]
    for _ in range(14):
        table.append(add_points(table[-1], point))
    total = NEUTRAL
    for nibble in f"{scalar % GROUP_ORDER:x}":
        for _ in range(4):
            total = _doubled(total)
        total = add_points(total, table[int(nibble, 16)])
    return total


def point_of_hash(octets: bytes) -> Point:
    """The point that 64 uniform octets stand for (RFC 9496, 4.3.4)."""
    return add_points(_mapped(octets[:32]), _mapped(octets[32:]))


def _mapped(octets: bytes) -> Point:
    t = int.from_bytes(octets, "little") % 2**255 % PRIME
    r = _ROOT_M1 * t * t % PRIME
    u = (r + 1) * _ONE_MINUS_D_SQ % PRIME
    v = (-1 - r * _D) * (r + _D) % PRIME
    square, s = _ratio_root(u, v)
    c = -1
    if not square:
        s, c = -_positive(s * t), r
    n = (c * (r - 1) * _D_MINUS_ONE_SQ - v) % PRIME
    w0, w1 = 2 * s * v % PRIME, n * _SQRT_AD_MINUS_ONE % PRIME
    w2, w3 = (1 - s * s) % PRIME, (1 + s * s) % PRIME
    return w0 * w3 % PRIME, w2 * w1 % PRIME, w1 * w3 % PRIME, w0 * w2 % PRIME


BASE_POINT = decode_point(
    bytes.fromhex("e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76")
)
