import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import datasets
import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from modeling_pamela.cli import app
from modeling_pamela.data.export import build_folder
from modeling_pamela.data.folder import DataFolder, DataFolderError
from modeling_pamela.data.load import load_pamela
from modeling_pamela.data.push import PushError, plan_push, push_folder


class Hub(BaseHTTPRequestHandler):
    """The few endpoints of the Hub's API that an upload and a download of small files use."""

    def _answer(self, content: dict | list, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.server.calls.append(("GET", self.path))
        files = self.server.files
        if "/resolve/" in self.path:
            content = files[self.path.partition("/resolve/")[2].partition("/")[2]]
            self.send_response(200)
            self.send_header("ETag", hashlib.sha256(content).hexdigest())
            self.send_header("X-Repo-Commit", "1" * 40)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)
        elif "/tree/" in self.path:
            self._answer([{"type": "file", "path": name, "size": len(files[name]), "oid": "2" * 40} for name in files])
        else:
            siblings = [{"rfilename": name} for name in files]
            self._answer({"id": "somebody/taste", "sha": "1" * 40, "private": True, "siblings": siblings})

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self):
        self.server.calls.append(("POST", self.path))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.refuses:
            self._answer({"error": "no rights"}, 403)
        elif self.path.endswith("/repos/create"):
            self.server.created = json.loads(body)
            self._answer({"url": f"http://{self.headers['Host']}/datasets/somebody/taste"})
        elif "/preupload/" in self.path:
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            self._answer({"files": files})
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "deletedFile":
                    del self.server.files[line["value"]["path"]]
                if line["key"] == "file":
                    self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            address = f"http://{self.headers['Host']}/datasets/somebody/taste/commit/{'1' * 40}"
            self._answer({"commitUrl": address, "commitOid": "1" * 40, "success": True})
        elif "/validate-yaml" in self.path:
            self._answer({"errors": [], "warnings": []})
        else:
            self._answer({"error": f"unknown {self.path}"}, 404)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(tmp_path, monkeypatch):
    server = HTTPServer(("127.0.0.1", 0), Hub)
    server.files, server.calls, server.created, server.refuses = {}, [], None, False
    address = f"http://127.0.0.1:{server.server_port}"
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def built(folder, tmp_path):
    build_folder(folder, tmp_path / "built")
    return tmp_path / "built"


def push(*arguments):
    return CliRunner().invoke(app, ["data", "push", *map(str, arguments)])


def test_a_dry_run_asks_nothing_of_the_hub(hub, built):
    run = push(built, "somebody/taste")
    assert run.exit_code == 0, run.output
    assert "ratings/train.parquet" in run.stdout
    assert "private" in run.stdout
    assert "nothing was uploaded" in run.stdout
    assert hub.calls == []


def test_upload(hub, built, tmp_path):
    (built / "rejected.parquet").write_bytes(b"private")
    (built / ".train.parquet.0.tmp").write_bytes(b"half-written")
    (built / "notes.txt").write_text("mine")
    run = push(built, "somebody/taste", "--yes")
    assert run.exit_code == 0, run.output
    assert hub.created["visibility"] == "private"
    assert (hub.created["name"], hub.created["organization"], hub.created["type"]) == ("taste", "somebody", "dataset")
    assert set(hub.files) == set(plan_push(built, "somebody/taste").files)
    assert not {"rejected.parquet", ".train.parquet.0.tmp", "notes.txt"} & set(hub.files)
    for name in ("rejected.parquet", ".train.parquet.0.tmp", "notes.txt"):
        assert f"not uploaded: {name}" in run.stdout
    for name, content in hub.files.items():
        copy = tmp_path / "copy" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
    before, after = DataFolder(built), DataFolder(tmp_path / "copy")
    assert after.table("ratings").equals(before.table("ratings"))
    assert list(after.iter_image_bytes()) == list(before.iter_image_bytes())


def test_public_has_to_be_said(hub, built):
    run = push(built, "somebody/taste", "--public", "--yes")
    assert run.exit_code == 0, run.output
    assert "PUBLIC" in run.stdout
    assert hub.created["visibility"] == "public"


def test_refusals_are_told(hub, built):
    hub.refuses = True
    run = push(built, "somebody/taste", "--yes")
    assert isinstance(run.exception, PushError)
    assert "somebody/taste was not uploaded: 403" in str(run.exception)
    assert "no rights" in str(run.exception)
    with pytest.raises(PushError, match="expected owner/name"):
        plan_push(built, "a/b/c")
    with pytest.raises(PushError, match="expected owner/name"):
        plan_push(built, "taste")


def test_a_second_upload_removes_what_is_no_longer_there(hub, built):
    stale = ["images/train-00001-of-00002.parquet", "ratings/reserve.parquet", "assets/old.png"]
    hub.files = dict.fromkeys([*stale, "LICENSE", ".gitattributes"], b"")
    push_folder(built, "somebody/taste")
    assert set(hub.files) == {*plan_push(built, "somebody/taste").files, "LICENSE", ".gitattributes"}


@pytest.mark.parametrize("streaming", [False, True])
def test_load_from_a_repo(hub, built, streaming):
    push_folder(built, "somebody/taste")
    expected = DataFolder(built)
    for config in ("ratings", "images"):
        rows = load_pamela("somebody/taste", config, "train", streaming=streaming)
        assert [row["image_id"] for row in rows] == expected.table(config)["image_id"].to_pylist()
    assert {call[1].rpartition("/")[2] for call in hub.calls if "/resolve/" in call[1]} == {
        "README.md",
        "train.parquet",
        "train-00000-of-00001.parquet",
    }
    with pytest.raises(DataFolderError, match="has no 'contexts'"):
        load_pamela("somebody/taste", "contexts")
