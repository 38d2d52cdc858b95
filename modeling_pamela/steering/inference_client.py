"""Proposals from a language model that runs elsewhere."""

import time
from collections.abc import Sequence
from typing import Any

from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError, HTTPError, InferenceTimeoutError, OfflineModeIsEnabled

from .base import SteeringError
from .chat import ChatProposer
from .instruction import Message
from .llm import DEFAULT_LLM


__all__ = ["InferenceClientProposer"]

# Of these, and of no answer at all, another attempt may find the server in a better state.
_PASSING = {408, 409, 425, 429, 500, 502, 503, 504}
# Without any, huggingface_hub would take the token of the Hub.
_NO_KEY = "none"


class InferenceClientProposer(ChatProposer):
    """
    A [`~modeling_pamela.steering.base.Proposer`] that asks a provider on the Hub, or any server that speaks OpenAI's chat completion.

    As repeatable as the server is: it gets the seed.

    Args:
        model (`str`): Name of the model; a server with one model may not care.
        base_url (`str`, *optional*): Of a server of one's own, e.g. `"http://localhost:8000/v1"`; the Hub's providers where not given.
        timeout (`float`): Seconds until an attempt is given up.
        retries (`int`): Further attempts where the server does not answer, answers too late, is too busy or breaks.
        pause (`float`): Seconds before the first further attempt; twice as long before each next one.
        temperature (`float`): Of the sampling.
        instruction, num_shown, max_asks: As in [`~modeling_pamela.steering.chat.ChatProposer`].
        client: Further arguments of `huggingface_hub.InferenceClient`, such as `provider`, `api_key`, `headers`, `bill_to`. A server of one's
            own gets no other key than one given here, in particular not the token of the Hub that this machine is logged in with.

    Example:

    ```python
    >>> proposer = InferenceClientProposer("meta-llama/Llama-3.1-8B-Instruct", provider="auto")
    >>> proposer.propose("a lighthouse on a cliff", history=[], num=20, seed=0)  # doctest: +SKIP

    ```
    """

    def __init__(
        self,
        model: str = DEFAULT_LLM,
        *,
        base_url: str | None = None,
        timeout: float = 60.0,
        retries: int = 3,
        pause: float = 1.0,
        temperature: float = 1.0,
        instruction: str | None = None,
        num_shown: int = 5,
        max_asks: int = 3,
        **client: Any,
    ) -> None:
        super().__init__(instruction, num_shown, max_asks)
        if base_url is not None and not (client.get("token") or client.get("api_key")):
            client = {**client, "token": None, "api_key": _NO_KEY}
        self.client = InferenceClient(
            model if base_url is None else None, base_url=base_url, timeout=timeout, **client
        )
        self.model = model
        self.address = base_url or "the Hub"
        self.retries = retries
        self.pause = pause
        self.temperature = temperature

    def __repr__(self) -> str:
        """What its proposals depend on, by which a run that is resumed knows its proposer."""
        return (
            f"InferenceClientProposer({self.model!r}, at={self.address!r}, temperature={self.temperature}, "
            f"instruction={self.instruction!r}, num_shown={self.num_shown}, max_asks={self.max_asks})"
        )

    def reply(self, messages: Sequence[Message], max_new_tokens: int, seed: int) -> str:
        """
        See [`~modeling_pamela.steering.chat.ChatProposer`].

        Raises:
            SteeringError: The server refuses, or does not give an answer in all attempts.
        """
        problem, error = "", None  # type: tuple[str, Exception | None]
        for attempt in range(self.retries + 1):
            if attempt:
                time.sleep(self.pause * 2 ** (attempt - 1))
            try:
                answer = self.client.chat_completion(
                    list(messages),
                    model=self.model,
                    max_tokens=max_new_tokens,
                    temperature=self.temperature,
                    seed=seed,
                )
                text = answer.choices[0].message.content
                if isinstance(text, str):
                    return text
                problem, error = "it answered without a text", None
            except HfHubHTTPError as failure:
                status, said = failure.response.status_code, failure.response.text[:200]
                if status not in _PASSING:
                    raise SteeringError(
                        f"The language model {self.model} at {self.address} refused the question with status {status} ({said}). Check "
                        "the model's name, the address, the token and what the server supports."
                    ) from failure
                problem, error = f"it answered with status {status} ({said})", failure
            except OfflineModeIsEnabled as failure:
                raise SteeringError(
                    "HF_HUB_OFFLINE is set, which also keeps huggingface_hub from a server on this machine. Unset it, or use another proposer."
                ) from failure
            except InferenceTimeoutError as failure:
                problem, error = f"it did not answer within {self.client.timeout:g} s", failure
            except HTTPError as failure:
                problem, error = f"it cannot be reached ({failure})", failure
            except (ValueError, TypeError, KeyError, IndexError, AttributeError) as failure:
                problem, error = f"its answer is no chat completion ({type(failure).__name__}: {failure})", failure
        raise SteeringError(
            f"The language model {self.model} at {self.address} gave no answer in {self.retries + 1} attempts; at the last one {problem}. "
            "Try again later, raise `timeout` or `retries`, or use another proposer."
        ) from error
