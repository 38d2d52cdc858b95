import contextlib
import io
import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeling_pamela.data import archive as archives
from modeling_pamela.data.archive import Archive, MemberError, open_archive
from modeling_pamela.data.files import DataError


FILES = {"annotations/a.json": b"[]", "images/É.png": b"accent", "images/x.png": b"lower", "images/X.png": b"upper"}


def make_zip(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.fixture(params=["folder", "zip"])
def archive(request, tmp_path) -> Archive:
    if request.param == "zip":
        return open_archive(
            make_zip(tmp_path / "A.zip", {f"A/{name}": content for name, content in FILES.items()}),
            "annotations/a.json",
        )
    for name, content in FILES.items():
        (tmp_path / "up" / "A" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "up" / "A" / name).write_bytes(content)
    return open_archive(tmp_path / "up", "annotations/a.json")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("images/x.png", b"lower"),
        ("./images/x.png", b"lower"),
        ("A/images/x.png", b"lower"),
        ("./A/images/X.png", b"upper"),
        ("images\\x.png", b"lower"),
        ("images/É.png", b"accent"),
        ("images/E\u0301.png", b"accent"),
        (" images//x.png ", b"lower"),
    ],
)
def test_paths_are_found(archive, name, content):
    assert archive.exists(name)
    assert archive.read(name) == content


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/etc/passwd", "absolute"),
        ("C:/x.png", "absolute"),
        ("../up/A/images/x.png", "leads out"),
        ("images/../../x.png", "leads out"),
        ("..\\x.png", "leads out"),
        ("images/\0.png", "null byte"),
        ("images/absent.png", "no such file"),
        ("IMAGES/x.png", "no such file"),
        ("images", "no such file"),
        ("", "no such file"),
    ],
)
def test_paths_are_refused(archive, name, reason):
    assert not archive.exists(name)
    with pytest.raises(MemberError, match=reason):
        archive.read(name)


@given(st.lists(st.sampled_from(["..", ".", "", "a", "b.png", "\\", "/", "C:"]), max_size=6))
def test_no_path_leads_out(tmp_path_factory, parts):
    inside = tmp_path_factory.getbasetemp() / "laws" / "inside"
    if not inside.exists():
        (inside / "a").mkdir(parents=True)
        for folder in (inside.parent, inside, inside / "a"):
            (folder / "b.png").write_bytes(str(folder.name).encode())
    with contextlib.suppress(MemberError):
        assert open_archive(inside).read("/".join(parts)) in (b"inside", b"a")


def test_names_in_another_code_page(tmp_path):
    """Many tools write UTF-8 names without the flag that says so."""
    path = make_zip(tmp_path / "a.zip", {"images/É.png": b"accent"})
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset + 1] &= ~0x08 & 0xFF
    path.write_bytes(content)
    with zipfile.ZipFile(path) as plain:
        assert plain.namelist() != ["images/É.png"]
    assert open_archive(path).read("images/É.png") == b"accent"


def test_damaged_and_odd_members(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("bad.png", b"0123456789")
        archive.writestr("../slip.png", b"outside")
        archive.writestr("/absolute.png", b"outside")
        archive.writestr("good.png", b"good")
        link = zipfile.ZipInfo("link.png")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("twice.png", b"one")
        archive.writestr("./twice.png", b"two")
        archive.writestr("same.png", b"one")
        archive.writestr("./same.png", b"one")
    path.write_bytes(path.read_bytes().replace(b"0123456789", b"0123456780"))
    with open_archive(path) as archive:
        assert archive.read("good.png") == b"good"
        assert archive.read("same.png") == b"one"
        for name, reason in {
            "bad.png": "damaged in the archive",
            "../slip.png": "leads out",
            "slip.png": "no such file",
            "absolute.png": "no such file",
            "link.png": "symbolic link",
            "twice.png": "several different files",
        }.items():
            with pytest.raises(MemberError, match=reason):
                archive.read(name)


def test_encrypted_members(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a.png": b"secret"})
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    path.write_bytes(content)
    with pytest.raises(MemberError, match="encrypted; unpack"):
        open_archive(path).read("a.png")


def test_a_member_that_unpacks_to_far_more(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", bytes(20_000_000))
        archive.writestr(zipfile.ZipInfo("filler.bin"), bytes(300_000), zipfile.ZIP_STORED)
    with pytest.raises(MemberError, match="zip bombs do"):
        open_archive(path).read("bomb.png")


def test_an_archive_that_unpacks_to_far_more(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"zip bombs do.*unpack it and give the folder"):
        open_archive(make_zip(tmp_path / "a.zip", {f"{i}.png": bytes(9_000_000) for i in range(3)}))
    # Members that share their bytes: the same 1,000,000 four times.
    path = make_zip(tmp_path / "b.zip", {"0.png": bytes(range(250)) * 4000}, zipfile.ZIP_STORED)
    monkeypatch.setattr(archives, "RATIO_FROM_BYTES", 1_000_000)
    with zipfile.ZipFile(path, "a") as archive:
        first = archive.infolist()[0]
        for i in range(1, 4):
            twin = zipfile.ZipInfo(f"{i}.png")
            for field in ("file_size", "compress_size", "CRC", "header_offset"):
                setattr(twin, field, getattr(first, field))
            archive.filelist.append(twin)
        archive._didModify = True
    with pytest.raises(DataError, match="zip bombs do"):
        open_archive(path)


def test_a_size_that_is_a_lie_reads_no_more_than_it_says(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a.png": bytes(50_000_000)})
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = (1000).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(MemberError, match="damaged in the archive"):
        open_archive(path).read("a.png")


def test_the_fingerprint_follows_the_files(archive, tmp_path):
    names = ["images/x.png", "images/absent.png", "/etc/passwd"]
    assert archive.fingerprint(names) == archive.fingerprint(names)
    assert archive.fingerprint(names) != archive.fingerprint(names[:1])
    changed = {f"A/{name}": content + b"!" for name, content in FILES.items()}
    before = open_archive(
        make_zip(tmp_path / "C.zip", {f"A/{n}": c for n, c in FILES.items()}), "annotations/a.json"
    ).fingerprint(names)
    after = open_archive(make_zip(tmp_path / "C.zip", changed), "annotations/a.json").fingerprint(names)
    assert before != after


def test_where_the_root_is(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_text("")
    with pytest.raises(DataError, match=r"found it in each of \['one', 'two'\]"):
        open_archive(tmp_path, "a.txt")
    with pytest.raises(DataError, match="found neither"):
        open_archive(tmp_path, "b.txt")
    (tmp_path / "text.zip").write_text("hello")
    with pytest.raises(DataError, match="is not a zip file"):
        open_archive(tmp_path / "text.zip")


def test_reading_from_many_threads(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    files = {f"{i}.bin": io.BytesIO(bytes([i % 256]) * 5000).read() for i in range(200)}
    with open_archive(make_zip(tmp_path / "a.zip", files)) as archive, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(archive.read, files)) == list(files.values())
