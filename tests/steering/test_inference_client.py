"""Proposals over HTTP, from a real server on this machine."""

import json
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from huggingface_hub import constants

from modeling_pamela.steering.base import SteeringError
from modeling_pamela.steering.inference_client import InferenceClientProposer


def completion(text):
    """An answer as OpenAI's chat completion gives it."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    return json.dumps({"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]})


@pytest.fixture
def server(monkeypatch):
    """A chat server that answers in turn what its list says: a text, a status, a body as it is, or a wait in seconds and a text."""

    # The client refuses to go online, even as far as this machine, where the tests are run offline.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.asked.append((self.path, self.headers.get("Authorization"), body))
            answer = server.answers.pop(0)
            status, body = 200, answer
            if isinstance(answer, tuple):
                time.sleep(answer[0])
                body = completion(answer[1])
            elif isinstance(answer, int):
                status, body = answer, json.dumps({"error": "so it is"})
            elif not answer.startswith(("{", "<")):
                body = completion(answer)
            data = body.encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            with suppress(BrokenPipeError):  # who asked has gone
                self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.answers, server.asked = [], []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def proposer_of(server, **options):
    return InferenceClientProposer(
        "some-model",
        base_url=f"http://127.0.0.1:{server.server_port}/v1",
        **{"token": "hf_secret", "pause": 0.001, "timeout": 5.0, **options},
    )


TWO = "1. a cat at dusk\n2. a cat in fog"


def test_a_server_is_asked_as_openai_says(server):
    server.answers = [TWO]
    assert proposer_of(server, temperature=0.7).propose("a cat", [], 2, seed=3) == ["a cat at dusk", "a cat in fog"]
    [(path, authorization, body)] = server.asked
    assert path == "/v1/chat/completions"
    assert authorization == "Bearer hf_secret"
    assert body["model"] == "some-model"
    assert body["temperature"] == 0.7
    assert body["messages"][0]["content"].endswith("Prompt: a cat")
    server.answers = [TWO]
    proposer_of(server, temperature=0.7).propose("a cat", [], 2, seed=3)
    assert server.asked[1][2] == body


def test_a_strange_server_does_not_learn_the_token_of_the_hub(server, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_of_this_machine")
    server.answers = [TWO]
    proposer_of(server, token=None).propose("a cat", [], 2, seed=3)
    assert server.asked[0][1] == "Bearer none"


def test_too_few_are_asked_for_again_in_the_same_chat(server):
    server.answers = ["1. a cat at dusk", "a cat in fog"]
    assert proposer_of(server).propose("a cat", [], 2, seed=3) == ["a cat at dusk", "a cat in fog"]
    turns = server.asked[1][2]["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert server.asked[0][2]["seed"] != server.asked[1][2]["seed"]


@pytest.mark.parametrize(
    "trouble", [500, 503, 429, "<html>Bad gateway</html>", '{"object": "list"}', completion(None), (2, TWO)]
)
def test_trouble_that_passes(server, trouble):
    server.answers = [trouble, trouble, TWO]
    assert len(proposer_of(server, timeout=1).propose("a cat", [], 2, seed=3)) == 2
    assert len(server.asked) == 3
    assert server.asked[0][2] == server.asked[2][2]


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        (500, r"no answer in 2 attempts.*status 500 .*so it is"),
        ("<html>", "no chat completion"),
        (completion(None), "without a text"),
        ((2, TWO), r"not answer within 1 s"),
    ],
)
def test_trouble_that_stays(server, trouble, message):
    server.answers = [trouble] * 2
    with pytest.raises(SteeringError, match=message):
        proposer_of(server, timeout=1, retries=1).propose("a cat", [], 2, seed=3)
    assert len(server.asked) == 2


@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_a_refusal_is_told_at_once(server, status):
    server.answers = [status]
    with pytest.raises(SteeringError, match=f"refused the question with status {status}.*so it is") as caught:
        proposer_of(server).propose("a cat", [], 2, seed=3)
    assert len(server.asked) == 1
    assert "hf_secret" not in str(caught.value)


def test_nobody_there(server):
    proposer = proposer_of(server, retries=1)
    proposer.client = type(proposer.client)(base_url="http://127.0.0.1:1/v1", timeout=1)
    with pytest.raises(SteeringError, match="cannot be reached"):
        proposer.propose("a cat", [], 2, seed=3)


def test_offline(server, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(SteeringError, match="HF_HUB_OFFLINE is set"):
        proposer_of(server).propose("a cat", [], 2, seed=3)
    assert not server.asked
