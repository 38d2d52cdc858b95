import base64
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from modeling_pamela.data.export import build_folder
from modeling_pamela.data.folder import DataFolder
from modeling_pamela.data.push import PushError, plan_push


class Hub(BaseHTTPRequestHandler):
    """The few endpoints of the Hub's API that an upload of small files uses."""

    def _answer(self, content: dict, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.server.calls.append(("GET", self.path))
        self._answer({"id": "somebody/taste", "sha": "0" * 40, "private": True, "siblings": []})

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
def hub():
    server = HTTPServer(("127.0.0.1", 0), Hub)
    server.files, server.calls, server.created, server.refuses = {}, [], None, False
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def built(folder, tmp_path):
    build_folder(folder, tmp_path / "built")
    return tmp_path / "built"


def push(hub, home, *arguments):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return subprocess.run(
        [sys.executable, "-c", "from modeling_pamela.cli import app; app()", "data", "push", *map(str, arguments)],
        env=environment
        | {
            "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
            "HF_TOKEN": "hf_test",
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
        },
        capture_output=True,
        text=True,
    )


def test_a_dry_run_asks_nothing_of_the_hub(hub, built, tmp_path):
    run = push(hub, tmp_path / "hf", built, "somebody/taste")
    assert run.returncode == 0, run.stderr
    assert "ratings/train.parquet" in run.stdout
    assert "private" in run.stdout
    assert "nothing was uploaded" in run.stdout
    assert hub.calls == []


def test_upload(hub, built, tmp_path):
    (built / "rejected.parquet").write_bytes(b"private")
    (built / ".train.parquet.0.tmp").write_bytes(b"half-written")
    (built / "notes.txt").write_text("mine")
    run = push(hub, tmp_path / "hf", built, "somebody/taste", "--yes")
    assert run.returncode == 0, run.stderr
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


def test_public_has_to_be_said(hub, built, tmp_path):
    run = push(hub, tmp_path / "hf", built, "somebody/taste", "--public", "--yes")
    assert run.returncode == 0, run.stderr
    assert "PUBLIC" in run.stdout
    assert hub.created["visibility"] == "public"


def test_refusals_are_told(hub, built, tmp_path):
    hub.refuses = True
    run = push(hub, tmp_path / "hf", built, "somebody/taste", "--yes")
    assert run.returncode == 1
    assert "was not uploaded" in run.stderr
    assert "Traceback" not in run.stderr
    with pytest.raises(PushError, match="expected owner/name"):
        plan_push(built, "a/b/c")
