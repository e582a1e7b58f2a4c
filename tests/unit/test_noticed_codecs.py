"""Small wrongs of looking for codecs in a footer: whatever else stands there, each codec is found, and nothing else."""

from __future__ import annotations

import pytest
from test_decode_headers import BINARY, DOUBLE, FALSE, I32, I64, LIST, STRUCT, TRUE, varint, zigzag

from dlio_benchmark.errors import ParquetFileError
from dlio_benchmark.parquet.decode_codecs import check_codecs

Field = tuple[int, int, bytes]
BYTE, I16, SET, MAP = 3, 4, 10, 11
GROUPS, CHUNKS, METADATA, CODEC = 4, 1, 3, 4
SNAPPY, UNKNOWN = 1, 200
SIMILAR = b"\x15\x02\x00\x19\x4c"


def struct(*fields: Field, short: bool = True) -> bytes:
    """Return a struct; the numbers of its fields as steps, or if not ``short`` as themselves."""
    out, last = b"", 0
    for number, kind, body in sorted(fields):
        step = number - last
        out += bytes([step << 4 | kind]) if short and 0 < step < 16 else bytes([kind]) + zigzag(number)
        out, last = out + body, number
    return out + b"\0"


def listed(kind: int, *bodies: bytes) -> bytes:
    """Return a list, or a set, of elements of one kind."""
    many = len(bodies)
    return bytes([min(many, 15) << 4 | kind]) + (varint(many) if many > 14 else b"") + b"".join(bodies)


STRANGE: dict[str, tuple[int, bytes]] = {
    "truth": (TRUE, b""),
    "untruth": (FALSE, b""),
    "byte": (BYTE, b"\x99"),
    "short integer": (I16, zigzag(-30000)),
    "double": (DOUBLE, b"\x19\x1c" * 4),
    **{f"integer {number}": (I64, zigzag(number)) for number in (0, -1, 64, 128, -(2**62))},
    **{f"binary {many}": (BINARY, varint(many) + b"\x19" * many) for many in (0, 3, 127, 128, 256, 300)},
    **{f"list of {many}": (LIST, listed(I32, *[b"\x15"] * many)) for many in (0, 1, 14, 15, 16, 40)},
    "list of truths": (LIST, listed(TRUE, b"\x01", b"\x02", b"\x01")),
    "list of untruths": (LIST, listed(FALSE, b"\x01", b"\x02")),
    "list of bytes": (LIST, listed(BYTE, b"\x19", b"\x1c")),
    "list of doubles": (LIST, listed(DOUBLE, *[b"\x19\x1c" * 4] * 3)),
    "list of texts": (LIST, listed(BINARY, b"\x01\x19", b"\x00", b"\x05" + SIMILAR)),
    "list of lists": (LIST, listed(LIST, listed(I32, b"\x02"), listed(I32), listed(TRUE, b"\x01"))),
    "list of structs": (LIST, listed(STRUCT, struct((1, I32, b"\x02")), struct((4, I32, b"\x02")))),
    "set": (SET, listed(I32, b"\x02", b"\x15")),
    "map of none": (MAP, b"\x00"),
    "map": (MAP, b"\x02" + bytes([BINARY << 4 | I32]) + b"\x01\x19\x02" + b"\x02\x15\x02\x04"),
    "map of truths": (MAP, b"\x01" + bytes([TRUE << 4 | STRUCT]) + b"\x01" + struct((1, TRUE, b""))),
    "struct": (STRUCT, struct((1, BINARY, b"\x01\x19"), (4, I32, b"\x02"))),
    "struct of long numbers": (STRUCT, struct((1, I32, b"\x02"), (70, TRUE, b""), (4, LIST, listed(I32, b"\x02")))),
}


def footer(codecs: list[list[int]], strange: dict[int, Field] | None = None, *, short: bool = True) -> bytes:
    """Return a footer of row groups whose chunks have ``codecs``, with a field more in each struct of a level.

    The levels are 0 for the footer, 1 for row groups, 2 for chunks, 3 for their metadata.
    """
    more = {level: (field,) for level, field in (strange or {}).items()}

    def made(level: int, *fields: Field) -> bytes:
        return struct(*fields, *more.get(level, ()), short=short)

    numbers = [(number, I64, zigzag(number)) for number in (5, 6, 7, 9)]
    groups = [
        made(
            1,
            (CHUNKS, LIST, listed(STRUCT, *(
                made(2, (METADATA, STRUCT, made(3, (CODEC, I32, zigzag(codec)), *numbers))) for codec in chunks
            ))),
        )
        for chunks in codecs
    ]  # fmt: skip
    return made(0, (1, I32, zigzag(2)), (3, I64, zigzag(99)), (GROUPS, LIST, listed(STRUCT, *groups)))


def named(text: bytes, chunks: int) -> int | None:
    """Return the codec that a footer is refused for, None if it passes."""
    try:
        check_codecs(text, chunks)
    except ParquetFileError as error:
        words = str(error).split("the codec ")
        assert len(words) == 2, words
        return int(words[1].split(",")[0])
    return None


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE)
@pytest.mark.parametrize("short", [True, False])
def test_codecs_are_found_among_fields_that_nobody_knows(strange: tuple[int, bytes], short: bool) -> None:
    for level in range(4):
        # before what is looked for, right behind it, and after a gap; between codec and numbers it is of no usual make
        for number in {0: (2, 5, 40), 1: (2, 30), 2: (2, 4, 30), 3: (1, 8, 30)}[level]:
            extra = {level: (number, *strange)}
            if level != 3:
                extra[3] = (8, *strange)
            assert named(footer([[0, 2], [6, 7]], extra, short=short), 4) is None
            for place in (0, 1, 3):
                codecs = [SNAPPY] * 4
                codecs[place] = UNKNOWN
                assert named(footer([codecs[:2], codecs[2:]], extra, short=short), 4) == UNKNOWN


@pytest.mark.parametrize("wrong", [3, 5])
def test_as_many_codecs_as_chunks_must_be_named(wrong: int) -> None:
    for short in (True, False):
        text = footer([[0, 1], [2, 6]], short=short)
        check_codecs(text, 4)
        with pytest.raises(ParquetFileError, match=f"names 4 codecs for {wrong} column chunks"):
            check_codecs(text, wrong)


@pytest.mark.parametrize("many", [1, 14, 15, 16, 200])
def test_any_number_of_chunks_and_row_groups_is_walked(many: int) -> None:
    for codecs in ([[SNAPPY] * many], [[SNAPPY]] * many):
        assert named(footer(codecs, short=False), many) is None
    assert named(footer([[SNAPPY] * (many - 1) + [UNKNOWN]], short=False), many) == UNKNOWN
    assert named(footer([[SNAPPY]] * (many - 1) + [[UNKNOWN]], short=False), many) == UNKNOWN


@pytest.mark.parametrize("kind", [I16, I32, I64])
def test_a_codec_is_a_number_of_any_width(kind: int) -> None:
    for codec, found in ((SNAPPY, None), (UNKNOWN, UNKNOWN), (-1, -1)):
        chunk = struct((METADATA, STRUCT, struct((CODEC, kind, zigzag(codec)))))
        group = struct((CHUNKS, LIST, listed(STRUCT, chunk)))
        assert named(struct((GROUPS, LIST, listed(STRUCT, group))), 1) == found


CHUNK = struct((METADATA, STRUCT, struct((CODEC, I32, b"\x02"))))
NO_CODECS = {
    "row groups are a number": struct((GROUPS, I32, b"\x02")),
    "row groups are text": struct((GROUPS, BINARY, b"\x03\x19\x1c\x15")),
    "row groups are numbers": struct((GROUPS, LIST, listed(I32, b"\x02", b"\x19"))),
    "row groups are a set": struct((GROUPS, SET, listed(STRUCT, struct((CHUNKS, LIST, listed(STRUCT, CHUNK)))))),
    "row groups are lists": struct((GROUPS, LIST, listed(LIST, listed(STRUCT, CHUNK)))),
    "chunks are numbers": struct((GROUPS, LIST, listed(STRUCT, struct((CHUNKS, LIST, listed(I32, b"\x02")))))),
    "metadata are a list": struct(
        (GROUPS, LIST, listed(STRUCT, struct((CHUNKS, LIST, listed(STRUCT, struct(
            (METADATA, LIST, listed(STRUCT, struct((CODEC, I32, b"\x02")))),
        ))))))
    ),
    "a codec is text": struct(
        (GROUPS, LIST, listed(STRUCT, struct((CHUNKS, LIST, listed(STRUCT, struct(
            (METADATA, STRUCT, struct((CODEC, BINARY, b"\x02\x15\x02"))),
        ))))))
    ),
    "a codec is a struct": struct(
        (GROUPS, LIST, listed(STRUCT, struct((CHUNKS, LIST, listed(STRUCT, struct(
            (METADATA, STRUCT, struct((CODEC, STRUCT, struct((CODEC, I32, b"\x02"))))),
        ))))))
    ),
}  # fmt: skip


@pytest.mark.parametrize("text", NO_CODECS.values(), ids=NO_CODECS)
def test_what_only_stands_in_the_place_of_codecs_is_none(text: bytes) -> None:
    check_codecs(text, 0)
    with pytest.raises(ParquetFileError, match="names 0 codecs for 1 column chunks"):
        check_codecs(text, 1)


@pytest.mark.parametrize("kind", [STRUCT, LIST, SET, MAP])
def test_what_is_nested_as_deep_as_pyarrow_allows_is_stepped_over(kind: int) -> None:
    def within(depth: int) -> Field:
        value, inner = b"\x02", I32
        for _ in range(depth):
            value = {
                STRUCT: struct((1, inner, value)),
                MAP: b"\x01" + bytes([I32 << 4 | inner]) + b"\x02" + value,
            }.get(kind, listed(inner, value))
            inner = kind
        return 30, inner, value

    for depth in (1, 31, 32):
        assert named(footer([[UNKNOWN]], {3: within(depth)}), 1) == UNKNOWN
    for depth in (33, 5000):
        with pytest.raises(ParquetFileError, match="its fields do not end"):
            check_codecs(footer([[SNAPPY]], {2: within(depth), 3: (8, BYTE, b"\x02")}), 1)


@pytest.mark.parametrize("kind", [LIST, SET, MAP, BINARY])
def test_a_count_that_the_footer_cannot_hold_is_an_error(kind: int) -> None:
    many = varint(2**40)
    body = {MAP: many + bytes([I32 << 4 | I32]), BINARY: many}.get(kind, bytes([0xF0 | I32]) + many)
    with pytest.raises(ParquetFileError, match="its fields do not end"):
        check_codecs(struct((2, kind, body)), 1)


def test_a_footer_that_is_cut_off_anywhere_is_an_error() -> None:
    text = footer([[SNAPPY, SNAPPY]], {0: (30, *STRANGE["map"])}, short=False)
    for end in range(len(text)):
        with pytest.raises(ParquetFileError, match="its fields do not end"):
            check_codecs(text[:end], 2)
