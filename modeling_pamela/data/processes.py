"""Which of several processes this one is, as `torchrun` tells it; one process needs none of this."""

import os


__all__ = ["barrier", "local_device", "num_processes", "process_index"]


def num_processes() -> int:
    """How many processes do the work together."""
    return int(os.environ.get("WORLD_SIZE", 1))


def process_index() -> int:
    """The number of this one, from 0; the first one writes what is written once."""
    return int(os.environ.get("RANK", 0))


def local_device(device: str) -> str:
    """The device of this process: where several share a machine, each has the accelerator of its own number."""
    if device == "cpu" or ":" in device or num_processes() == 1:
        return device
    return f"{device}:{os.environ.get('LOCAL_RANK', 0)}"


def barrier(device: str | None) -> None:
    """Wait for all processes; one that has died ends the others with an error."""
    if num_processes() > 1:
        from accelerate import PartialState

        PartialState(cpu=device == "cpu").wait_for_everyone()
