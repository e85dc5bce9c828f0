"""Other projects' clients and servers at the work of `endpoint.py`, each in its own environment.

    PYTHON benchmarks/rivals.py its http://HOST:PORT/v1 32        # PYTHON has its_hub[lm]
    PYTHON benchmarks/rivals.py optillm http://HOST:PORT/v1 32    # PYTHON has optillm
    PYTHON benchmarks/rivals.py proxy http://HOST:PORT/v1 9000    # serves until it is killed

`endpoint.py --its PYTHON --optillm PYTHON` runs them. Each is used as its source says is fastest:
its_hub's self-consistency with all questions at once and its orchestrator as wide as asked;
optillm's, which draws one sample after the other, with one thread a question. Nothing of dwell is
imported here.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

QUESTIONS, SAMPLES = 50, 32
PROMPTS = [f"problem {question}" for question in range(QUESTIONS)]
Work = Callable[[], list[int]]


def its(base_url: str, concurrency: int) -> Work:
    """its_hub: one session, all questions at once."""
    from its_hub.core.algorithms.self_consistency import SelfConsistency
    from its_hub.core.lms.openai_lm import OpenAICompatibleLanguageModel
    from its_hub.core.orchestrator import LMOrchestrator

    async def ask() -> list[int]:
        vote = SelfConsistency(orchestrator=LMOrchestrator(max_concurrency=concurrency))
        async with OpenAICompatibleLanguageModel(base_url, "none", "m", max_tokens=1024) as model:
            results = await asyncio.gather(
                *(vote.ainfer(model, prompt, SAMPLES, return_response_only=False)
                  for prompt in PROMPTS)
            )  # fmt: skip
        return [len(result.responses) for result in results]

    return lambda: asyncio.run(ask())


def optillm(base_url: str, concurrency: int) -> Work:
    """optillm: its samples come one after the other, so questions are asked in threads."""
    from openai import OpenAI
    from optillm.self_consistency import AdvancedSelfConsistency

    logging.disable()
    client = OpenAI(api_key="none", base_url=base_url)

    def ask(prompt: str) -> int:
        vote = AdvancedSelfConsistency(client, "m", num_samples=SAMPLES)
        return len(vote.evaluate("", prompt)["individual_responses"])

    def work() -> list[int]:
        with ThreadPoolExecutor(min(concurrency, QUESTIONS)) as threads:
            return list(threads.map(ask, PROMPTS))

    return work


def proxy(base_url: str, port: str) -> None:
    """optillm's server, passing requests through."""
    os.environ["OPENAI_API_KEY"] = "none"
    from optillm.server import main

    sys.argv = ["optillm", "--base-url", base_url, "--approach", "none", "--port", port,
                "--log", "error"]  # fmt: skip
    main()


def main() -> None:
    kind, base_url, number = sys.argv[1:]
    if kind == "proxy":
        proxy(base_url, number)
        return
    begun = time.perf_counter()
    work = {"its": its, "optillm": optillm}[kind](base_url, int(number))
    found: dict[str, Any] = {"import": time.perf_counter() - begun}
    begun, cpu = time.perf_counter(), time.process_time()
    found["draws"] = sum(work())
    found["wall"], found["cpu"] = time.perf_counter() - begun, time.process_time() - cpu
    found["megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found))


if __name__ == "__main__":
    main()
