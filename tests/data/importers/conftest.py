"""Small sources in the formats in which the public data sets come."""

import csv
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


SPLITS = ("train", "val_seen", "val_unseen", "test_seen", "test_unseen")


def picture(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def table_text(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def pamela_files(root: str = "PAMELA/") -> dict[str, bytes]:
    """
    Training, validation and test pictures (t, v, s), training people (p) and new ones (n, m); 2 decimals from 0 to 100.

    Its quirks: a style that is null, an empty gender, keys that are in some records only, paths with `./`, `PAMELA/` and neither, names
    of people as numbers and as text.
    """
    rng = np.random.default_rng(0)
    users = {
        "train": [1, 2, 3, 4],
        "val_seen": [1, 2, 3, 4],
        "test_seen": [1, 2, 3, 4],
        "val_unseen": ["n1", "n2"],
        "test_unseen": ["m1", "m2", "m3"],
    }
    pictures = {
        split: [f"{letter}{i}" for i in range(count)]
        for split, letter, count in (
            ("train", "t", 8),
            ("val_seen", "v", 6),
            ("val_unseen", "v", 6),
            ("test_seen", "s", 7),
            ("test_unseen", "s", 7),
        )
    }
    files: dict[str, bytes] = {}
    for split in SPLITS:
        records = []
        for u, user in enumerate(users[split]):
            for i, name in enumerate(pictures[split]):
                metadata: dict[str, Any] = {
                    "prompt": f"a picture of {name}",
                    "group": "animals",
                    "style": None if name == "t1" else "oil",
                    "type": "Art",
                }
                demographics: dict[str, Any] = {
                    "age": 20 + u,
                    "age_binned": "18-25",
                    "gender": "" if user == 2 else "female",
                    "nationality": None,
                }
                if name == "t2":
                    metadata["seeds"] = [1, 2]
                if user == 3:
                    demographics["education"] = "master"
                record = {
                    "participant_id": str(user) if i % 2 else user,
                    "image_id": name,
                    "image_path": ("./", "PAMELA/", "", "./PAMELA/")[i % 4] + f"images/{name}.png",
                    "original_score": round(float(rng.uniform(0, 100)), 2),
                    "image_metadata": metadata,
                    "user_demographics": demographics,
                }
                if split == "train":
                    record["session"] = i
                # One path a picture, or they would contradict each other.
                records.append(record)
        if split == "train":
            records[0]["original_score"], records[1]["original_score"] = 0, 100.0
        files[f"{root}annotations/pamela_{split}.json"] = json.dumps(records).encode()
        for name in pictures[split]:
            files[f"{root}images/{name}.png"] = picture(sum(map(ord, name)))
    return files


def lapis_files() -> dict[str, bytes]:
    """8 people x 9 pictures with accents in their names; 4 in the training set, 2 for validation, 3 for test."""
    rng = np.random.default_rng(1)
    names = [f"émile_{i}.png" for i in range(9)]
    rows = [
        {
            "image_id": 100 + i,
            "file": f"impressionism/{name}",
            "style": "impressionism" if i else "",
            "genre": "portrait",
            "participant_id": u,
            "response": int(rng.integers(0, 101)),
            "age": 30 + u,
            "nationality": "Belgian",
            "demo_gender": "f",
            "demo_edu": "",
            "demo_colorblind": "No",
            **{f"VAIAK{k}": (u + k) % 7 for k in range(1, 8)},
            **{f"2VAIAK{k}": k for k in range(1, 5)},
            "rt": 1.5,
        }
        for u in range(8)
        for i, name in enumerate(names)
    ]
    files = {"annotation/LAPIS_individualratings_metaANDdemodata.csv": table_text(rows)}
    files |= {f"images/{name}": picture(i) for i, name in enumerate(names)}
    for part, chosen in (("Train", names[:4]), ("Val", names[4:6]), ("Test", names[6:])):
        files[f"imageset/{part}ImageSet.txt"] = "\n".join(chosen).encode()
    for fold in range(1, 5):
        test = {2 * fold - 2, 2 * fold - 1}
        for part, chosen in (("Train", sorted(set(range(8)) - test)), ("Test", sorted(test))):
            files[f"userset/{part}UserIDs_Fold{fold}.txt"] = "".join(f"{user}\r\n" for user in chosen).encode()
    return files


def para_files() -> dict[str, bytes]:
    """3 sessions of 5 pictures, whose names repeat from session to session; 6 people."""
    rng = np.random.default_rng(2)
    shots = [(f"session{s}", f"iaa_{i}.png") for s in range(3) for i in range(5)]
    scores = ("qualityScore", "compositionScore", "colorScore", "dofScore", "contentScore", "lightScore")
    rows = [
        {
            "sessionId": session,
            "imageName": name,
            "userId": f"A{u}",
            "aestheticScore": rng.integers(2, 11) / 2,
            **{score: rng.integers(2, 11) / 2 for score in scores},
            "contentPreference": 3,
            "willingnessToShare": 2,
            "imgEmotion": "joy",
            "difficultyOfJudgment": 1,
            "semantic": "portrait" if session == "session0" else "night scene",
        }
        for u in range(6)
        for session, name in shots
    ]
    users = [
        {"userId": f"A{u}", "age": "18-21", "gender": "male", "EducationalLevel": "x", "artExperience": "beginner"}
        | {"photographyExperience": "expert"}
        | {f"personality-{trait}": 5 for trait in "EANOC"}
        for u in range(6)
    ]
    files = {f"imgs/{session}/{name}": picture(n) for n, (session, name) in enumerate(shots)}
    files["annotation/PARA-Images.csv"] = table_text(rows)
    files["annotation/PARA-UserInfo.csv"] = table_text(users)
    for part, chosen in (("Train", shots[:10]), ("Test", shots[10:14])):
        listed = [{"sessionId": session, "imageName": name, "aestheticScore_mean": 3} for session, name in chosen]
        files[f"annotation/PARA-Giaa{part}.csv"] = table_text(listed)
    return files


def write_folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def write_zip(path: Path, files: dict[str, bytes], corrupt: str | None = None) -> Path:
    """A zip in which the stored bytes of one member are not what its checksum says."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    if corrupt is not None:
        whole = path.read_bytes()
        at = whole.index(files[corrupt]) + 100
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
    return path


@pytest.fixture
def make_folder() -> Callable[..., Path]:
    return write_folder


@pytest.fixture
def make_zip() -> Callable[..., Path]:
    return write_zip


@pytest.fixture
def pamela() -> dict[str, bytes]:
    return pamela_files()


@pytest.fixture
def lapis() -> dict[str, bytes]:
    return lapis_files()


@pytest.fixture
def para() -> dict[str, bytes]:
    return para_files()


@pytest.fixture
def as_table() -> Callable[[list[dict[str, Any]]], bytes]:
    return table_text
