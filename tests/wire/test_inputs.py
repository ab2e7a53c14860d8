"""Replay's inputs: lines, their numbers and their bounds, whatever the file's form and size."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import threading
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from stream.errors import UsageError
from stream.inputs import Block, blocks, check_inputs
from stream.wire.deadletter import Whole
from stream.wire.decode import decode
from stream.wire.frame import Interner

MIB = 1024 * 1024


def read(paths: Sequence[str], block_bytes: int = 2 * MIB, stdin: bytes | None = None) -> list[Block]:
    found = list(blocks(paths, block_bytes, None if stdin is None else io.BytesIO(stdin)))
    assert all(block.lines and len(block.lines) == len(block.numbers) for block in found)
    return found


def numbered(data: bytes, block_bytes: int = 2 * MIB) -> list[tuple[int, bytes]]:
    return [
        (int(number), line)
        for block in read(["-"], block_bytes, data)
        for number, line in zip(block.numbers, block.lines, strict=True)
    ]


def plainly(data: bytes) -> list[tuple[int, bytes]]:
    """The rule in its plainest form, for lines that are not too long."""
    lines = [line[:-1] if line.endswith(b"\r") else line for line in data.split(b"\n")]
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip()]


def packed(suffix: str, *parts: bytes) -> bytes:
    """Parts compressed one by one and laid end to end: gzip members, zstandard frames."""
    compress = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}[suffix]
    return b"".join(compress(part) for part in parts)


def test_blank_lines_are_skipped_but_numbered_and_a_final_cr_is_not_part_of_a_line() -> None:
    assert numbered(b"a\n\n \t\nb\r\n\r\nc\r\r\n\rd") == [(1, b"a"), (4, b"b"), (6, b"c\r"), (7, b"\rd")]


def test_the_last_line_may_lack_its_end() -> None:
    assert numbered(b"a\nb") == numbered(b"a\nb\n") == numbered(b"a\nb\r") == [(1, b"a"), (2, b"b")]


@pytest.mark.parametrize("data", [b"", b"\n", b"\r\n\r\n", b" "])
def test_an_input_of_no_lines_is_no_block(data: bytes) -> None:
    assert numbered(data) == []


@given(
    st.lists(st.sampled_from([b"a", b"bc", b"\r", b"\n", b" ", b"\n\n", b"{}"]), max_size=40),
    st.integers(1, 9),
)
def test_lines_do_not_depend_on_where_blocks_end(parts: list[bytes], block_bytes: int) -> None:
    data = b"".join(parts)
    assert numbered(data, block_bytes) == plainly(data)


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@pytest.mark.parametrize("block_bytes", [1, 7, 1000, 2 * MIB])
def test_plain_and_compressed_files_hold_the_same_lines(
    tmp_path: Path, suffix: str, block_bytes: int
) -> None:
    data = b"".join(b'{"n": %d}\r\n' % n for n in range(300)) + b"\nend"
    path = tmp_path / f"events.ndjson{suffix}"
    path.write_bytes(packed(suffix, data[:1001], b"", data[1001:1500], data[1500:]))
    found = read([str(path)], block_bytes)
    lines = [(int(n), line) for block in found for n, line in zip(block.numbers, block.lines, strict=True)]
    assert lines == plainly(data)
    assert {block.file for block in found} == {str(path)}
    assert {block.bytes_total for block in found} == {path.stat().st_size}
    assert found[-1].bytes_read == path.stat().st_size
    assert [block.bytes_read for block in found] == sorted(block.bytes_read for block in found)


def test_skippable_frames_are_skipped(tmp_path: Path) -> None:
    skippable = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"
    path = tmp_path / "events.zst"
    path.write_bytes(skippable + packed(".zst", b"a\n") + skippable + packed(".zst", b"b\n") + skippable)
    assert [block.lines for block in read([str(path)])] == [[b"a", b"b"]]


def test_inputs_follow_one_another_each_with_its_own_numbers(tmp_path: Path) -> None:
    first, second = tmp_path / "a.ndjson", tmp_path / "b.gz"
    first.write_bytes(b"1\n2")
    second.write_bytes(packed(".gz", b"3\n4\n"))
    found = read([str(first), "-", str(second)], stdin=b"\nx\n")
    assert [(block.file, block.numbers.tolist(), block.lines) for block in found] == [
        (str(first), [1], [b"1"]),
        (str(first), [2], [b"2"]),
        ("-", [2], [b"x"]),
        (str(second), [1, 2], [b"3", b"4"]),
    ]
    assert found[-1].bytes_read == 3 + 3 + second.stat().st_size
    assert all(block.bytes_total is None for block in found), "nobody knows how much stdin holds"
    assert {block.bytes_total for block in read([str(first), str(second)])} == {3 + second.stat().st_size}


def test_a_pipe_can_be_read_compressed_too(tmp_path: Path) -> None:
    path = tmp_path / "pipe.zst"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(packed(".zst", b"a\nb\n"),))
    writer.start()
    found = read([str(path)])
    writer.join()
    assert [(block.lines, block.bytes_total) for block in found] == [([b"a", b"b"], None)]


# --- lines that are too long


@pytest.mark.parametrize("block_bytes", [1000, MIB, 8 * MIB])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_line_of_1_mib_is_whole_and_a_longer_one_is_cut_and_measured(block_bytes: int, end: bytes) -> None:
    fits, giant = b"f" * MIB, b"g" * (3 * MIB + 1)
    found = read(["-"], block_bytes, b"a\n" + fits + b"\r\n" + giant + b"\r\n\nb\n" + giant + end)
    lines = {
        int(n): (line, block.wholes.get(i))
        for block in found
        for i, (n, line) in enumerate(zip(block.numbers, block.lines, strict=True))
    }
    cut = (giant[: MIB + 1], Whole(3 * MIB + 1, hashlib.sha256(giant).hexdigest()))
    assert lines == {1: (b"a", None), 2: (fits, None), 3: cut, 5: (b"b", None), 6: cut}


def test_a_cut_line_is_still_too_large_for_the_decoder() -> None:
    (block,) = read(
        ["-"],
        8 * MIB,
        b'{"ts": 1790000000001, "service": "a"}\n'
        + b" " * (2 * MIB)
        + b'{"ts": 1790000000001, "service": "a"}\n',
    )
    frame, rejects = decode(block.lines, Interner())
    assert frame.row.tolist() == [0]
    assert [(reject.row, reject.error) for reject in rejects] == [(1, "too_large")]


@pytest.mark.parametrize("block_bytes", [1000, 8 * MIB])
def test_a_line_that_is_too_long_is_never_blank(block_bytes: int) -> None:
    data = b"\n" + b" " * (MIB + 5) + b"\n\na"
    wholes = [
        (int(block.numbers[i]), w.size_bytes)
        for block in read(["-"], block_bytes, data)
        for i, w in block.wholes.items()
    ]
    assert wholes == [(2, MIB + 5)]
    assert [n for n, _ in numbered(data, block_bytes)] == [2, 4]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_memory_is_bounded_whatever_a_line_or_a_file_holds(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"bomb{suffix}"
    giant = bytes(64 * MIB)  # compresses to a few kilobytes: one line, then many short ones
    path.write_bytes(packed(suffix, giant, b"\n", b'{"n": 1}\n' * 600_000))
    del giant
    tracemalloc.start()
    try:
        lines = sum(len(block.lines) for block in blocks([str(path)]))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert lines == 600_001
    assert peak_bytes < 60 * MIB


# --- what cannot be read


def fault_of(paths: Sequence[str]) -> str:
    with pytest.raises(UsageError) as raised:
        read(paths, stdin=b"")
    assert raised.value.exit_code == 2
    return str(raised.value)


def test_missing_files_and_directories_are_found_before_anything_is_read(tmp_path: Path) -> None:
    good, empty = tmp_path / "good", tmp_path / "empty.zst"
    good.write_bytes(b"{}\n")
    empty.write_bytes(b"")
    bad = [str(tmp_path / "missing"), str(tmp_path), str(empty), "nul\0byte"]
    check_inputs([str(good), "-"])
    with pytest.raises(UsageError) as raised:
        check_inputs([str(good), *bad, "-", "-"])
    assert str(raised.value).splitlines() == [
        f"{tmp_path}/missing: No such file or directory",
        f"{tmp_path}: is a directory, expected a file",
        f"{empty}: the compressed file was cut short",
        "nul\\u0000byte: embedded null byte",
        "-: stdin can be read only once",
    ]
    assert fault_of([str(good), *bad, "-", "-"]) == str(raised.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_found_before_anything_is_read(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"{}\n")
    path.chmod(0)
    with pytest.raises(UsageError, match=r"secret: Permission denied"):
        check_inputs([str(path)])


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_compressed_file_that_was_cut_short_is_refused_wherever_it_was_cut(
    tmp_path: Path, suffix: str
) -> None:
    first, second = packed(suffix, b"a\n" * 50), packed(suffix, os.urandom(300))
    path = tmp_path / f"events{suffix}"
    for size in {
        *range(1, len(first)),
        *range(len(first) + 2, len(first + second), 7),
        len(first + second) - 1,
    }:
        path.write_bytes((first + second)[:size])
        assert "the compressed file " in fault_of([str(path)])
        if size > 5 and size - len(first) not in range(6):
            assert fault_of([str(path)]) == f"{path}: the compressed file was cut short"
    path.write_bytes(first)
    assert read([str(path)])[0].lines == [b"a"] * 50


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_damaged_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"events{suffix}"
    good = packed(suffix, os.urandom(1000))
    for damaged in (b"{}\n", good[:500] + bytes(5) + good[505:], good + b"{}\n"):
        if suffix == ".zst" and damaged[:500] == good[:500] and len(damaged) == len(good):
            continue  # a frame without a checksum, which is the default, hides it
        path.write_bytes(damaged)
        assert f"{path}: the compressed file is damaged: " in fault_of([str(path)])


def test_lines_before_the_place_where_a_file_was_cut_are_delivered_first(tmp_path: Path) -> None:
    path = tmp_path / "events.gz"
    path.write_bytes(packed(".gz", b"a\nb\n", os.urandom(5000))[:-100])
    found = blocks([str(path)], block_bytes=4)
    assert next(found).lines == [b"a", b"b"]
    with pytest.raises(UsageError, match="cut short"):
        list(found)


@pytest.mark.parametrize("block_bytes", [1, 2, 3, 1000])
def test_a_byte_order_mark_is_skipped_in_the_first_line_of_a_file_alone(
    tmp_path: Path, block_bytes: int
) -> None:
    file = tmp_path / "marked.ndjson"
    file.write_bytes(b"\xef\xbb\xbf{}\n\xef\xbb\xbf{}\n")
    assert [line for block in blocks([str(file)], block_bytes) for line in block.lines] == [
        b"{}",
        b"\xef\xbb\xbf{}",
    ]
