"""Damaged Parquet files are read in every mode that decodes, with and without page checksums.

Mutants are read in forked children with little memory and an alarm, so that a crash or a hang costs one mutant.  Rows
that were read from a mutant are compared with those of the whole file, which pyarrow reads; where they differ without
an error, verification against the manifest must refuse the file.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from findings import Finding, Tree, make, tree

from dlio_benchmark.comm import Solo
from dlio_benchmark.common.enumerations import ReadMode
from dlio_benchmark.config.decode import decode
from dlio_benchmark.engine.verify import verify
from dlio_benchmark.errors import DlioError
from dlio_benchmark.reader.parquet_reader import ParquetRows
from dlio_benchmark.storage.local import LocalStorage
from dlio_benchmark.values import as_arrow

CODECS = ("none", "snappy", "gzip", "zstd", "lz4")
MODES = tuple((mode, verify) for mode in (ReadMode.DEFAULT, ReadMode.ROW_GROUP) for verify in (False, True))
PATH = "train/img_0_of_1.parquet"
_BATCH = 100
_ALARM_S = 20
_MEMORY_BYTES = 1 << 30
_VERIFIED_ANYWAY = 20

Change = Callable[[bytearray, random.Random], None]


def _at(body: bytearray, dice: random.Random) -> int:
    return dice.randrange(len(body))


def _flip_bit(body: bytearray, dice: random.Random) -> None:
    body[_at(body, dice)] ^= 1 << dice.randrange(8)


def _set_byte(body: bytearray, dice: random.Random) -> None:
    body[_at(body, dice)] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))


def _zero_range(body: bytearray, dice: random.Random) -> None:
    start = _at(body, dice)
    stop = min(len(body), start + dice.choice((4, 16, 64, 512, 4096)))
    body[start:stop] = bytes(stop - start)


def _truncate(body: bytearray, dice: random.Random) -> None:
    del body[dice.choice((_at(body, dice), len(body) - dice.randint(1, 12), 0)) :]


def _delete(body: bytearray, dice: random.Random) -> None:
    start = _at(body, dice)
    del body[start : start + dice.choice((1, 2, 8, 100))]


def _double(body: bytearray, dice: random.Random) -> None:
    start = _at(body, dice)
    body[start:start] = body[start : start + dice.choice((1, 8, 100))]


def _swap(body: bytearray, dice: random.Random) -> None:
    many = dice.choice((1, 8, 64))
    one, two = sorted((dice.randrange(len(body) - many), dice.randrange(len(body) - many)))
    body[one : one + many], body[two : two + many] = body[two : two + many], body[one : one + many]


def _footer_byte(body: bytearray, dice: random.Random) -> None:
    length = struct.unpack("<I", body[-8:-4])[0]
    body[len(body) - 8 - dice.randint(1, length)] = dice.randrange(256)


def _footer_length(body: bytearray, dice: random.Random) -> None:
    length = struct.unpack("<I", body[-8:-4])[0]
    body[-8:-4] = struct.pack("<I", dice.choice((0, 1, length - 1, length + 1, len(body), 2**31, 2**32 - 1)))


def _magic(body: bytearray, dice: random.Random) -> None:
    body[dice.choice((0, len(body) - 4)) + dice.randrange(4)] ^= dice.randint(1, 255)


def _many(body: bytearray, dice: random.Random) -> None:
    for _ in range(dice.randint(2, 50)):
        _flip_bit(body, dice)


CHANGES: tuple[Change, ...] = (
    *(_flip_bit, _set_byte, _zero_range, _truncate, _delete, _double, _swap),
    *(_footer_byte, _footer_byte, _footer_length, _magic, _many),
)


@dataclass(frozen=True, slots=True)
class Whole:
    """The file that mutants are made of, its rows, and where its column chunks lie."""

    root: str
    body: bytes
    table: pa.Table
    chunks: Mapping[tuple[int, str], range]

    def mutant(self, number: int, seed: int) -> tuple[str, bytes]:
        """Return the name of the change and the damaged file."""
        dice = random.Random(f"{seed} {number}")
        change = CHANGES[number % len(CHANGES)]
        body = bytearray(self.body)
        change(body, dice)
        return change.__name__.strip("_"), bytes(body)

    def only_in(self, body: bytes) -> tuple[int, str] | None:
        """Return (row group, column) if all damage lies in one column chunk."""
        if len(body) != len(self.body):
            return None
        damaged = [at for at, (old, new) in enumerate(zip(self.body, body, strict=True)) if old != new]
        within = (where for where, chunk in self.chunks.items() if all(at in chunk for at in damaged))
        return next(within, None) if damaged else None


def whole(root: str, codec: str) -> Whole:
    """Generate the file below ``root``."""
    work = _work(codec)
    make(root, work)
    path = os.path.join(root, PATH)
    file = pq.ParquetFile(path)
    chunks = {}
    for group in range(file.metadata.num_row_groups):
        for number in range(file.metadata.num_columns):
            chunk = file.metadata.row_group(group).column(number)
            start = chunk.dictionary_page_offset or chunk.data_page_offset
            name = chunk.path_in_schema.partition(".")[0]
            chunks[group, name] = range(start, start + chunk.total_compressed_size)
    with open(path, "rb") as raw:
        return Whole(root, raw.read(), file.read(), chunks)


def _work(codec: str) -> Tree:
    return tree(
        compression=codec, num_files_train=1, num_files_eval=0, num_subfolders_train=0, num_samples_per_file=300
    )


def run(many: int, folder: str, seed: int) -> Finding:
    """Return what ``many`` mutants per codec showed."""
    found = Finding()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for codec in CODECS:
        one = whole(os.path.join(folder, codec), codec)
        number = 0
        while number < many:
            number = _batch(one, codec, range(number, min(many, number + _BATCH)), seed, found)
    return found


def _batch(one: Whole, codec: str, numbers: range, seed: int, found: Finding) -> int:
    """Read mutants in a child; return the number that comes next, one behind that which ended the child."""
    told, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(told)
        _child(one, codec, numbers, seed, say)
    os.close(say)
    last = numbers.start - 1
    with os.fdopen(told, encoding="utf-8") as lines:
        for line in lines:
            last, counted, wrong = json.loads(line)
            for what, count in counted.items():
                found.count(what, count)
            for text in wrong:
                found.wrong(text)
    status = os.waitpid(pid, 0)[1]
    if status == 0:
        return numbers.stop
    ended = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"status {os.WEXITSTATUS(status)}"
    name, _ = one.mutant(last + 1, seed)
    found.count("hangs" if ended == "SIGALRM" else "crashes")
    found.wrong(f"{codec}: mutant {last + 1} ({name}) ended the process with {ended}")
    return last + 2


def _child(one: Whole, codec: str, numbers: range, seed: int, say: int) -> None:
    try:
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES + _address_space(), resource.RLIM_INFINITY))
        for number in numbers:
            signal.alarm(_ALARM_S)
            counted: Counter[str] = Counter({"mutants": 1})
            wrong = list(_wrong_with(one, codec, number, seed, counted))
            os.write(say, (json.dumps([number, counted, wrong]) + "\n").encode())
        os._exit(0)
    finally:
        os._exit(70)


def _address_space() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _wrong_with(one: Whole, codec: str, number: int, seed: int, counted: Counter[str]) -> Iterator[str]:
    name, body = one.mutant(number, seed)
    if body == one.body:
        counted["unchanged"] += 1
        return
    with open(os.path.join(one.root, PATH), "wb") as file:
        file.write(body)
    where = f"{codec}: mutant {number} ({name})"
    differs = False
    for mode, checked in MODES:
        how = f"{where} in mode {mode}{' with checksums' if checked else ''}"
        try:
            same = _same(one, mode, checked)
        except DlioError as error:
            counted["read with an error"] += 1
            yield from _unnamed(one, body, str(error), how, counted)
        except Exception as error:
            yield f"{how}: {error!r} is no error raised on purpose"
        else:
            counted["read as the same rows" if same else "read as other rows"] += 1
            counted["read as other rows with checksums"] += checked and not same
            differs = differs or not same
    if differs or number % _VERIFIED_ANYWAY == 0:
        counted["verified"] += 1
        yield from _unverified(one, codec, where)


def _same(one: Whole, mode: ReadMode, checked: bool) -> bool:
    file = ParquetRows(LocalStorage(one.root), None, mode, verify_checksums=checked, block_bytes=4000).open(PATH)
    try:
        blocks = [file.read(index).block for index in range(len(file.shapes))]
    finally:
        file.close()
    if sum(block.rows for block in blocks) != one.table.num_rows or any(
        set(block.columns) != set(one.table.column_names) for block in blocks
    ):
        return False
    return all(
        _equal(pa.chunked_array([as_arrow(block.columns[name]) for block in blocks]), one.table[name])
        for name in one.table.column_names
    )


def _equal(ours: pa.ChunkedArray, theirs: pa.ChunkedArray) -> bool:
    if ours.type == theirs.type:
        return bool(ours.equals(theirs))
    return bool(ours.to_pylist() == theirs.to_pylist())


def _unnamed(one: Whole, body: bytes, text: str, how: str, counted: Counter[str]) -> Iterator[str]:
    if PATH not in text:
        yield f"{how}: no file in: {text}"
    where = one.only_in(body)
    if where is None:
        return
    group, column = where
    if f"row group {group}," in text and f"'{column}" in text:
        counted["errors that name row group and column"] += 1
    else:
        yield f"{how}: not row group {group} and column {column!r} in: {text}"


def _unverified(one: Whole, codec: str, where: str) -> Iterator[str]:
    try:
        verify(decode(_work(codec), strict=True).workload, LocalStorage(one.root), Solo())
    except DlioError as error:
        if PATH not in str(error):
            yield f"{where}: verification names no file: {error}"
    except Exception as error:
        yield f"{where}: verification ends with {error!r}"
    else:
        yield f"{where}: verification accepts it"
