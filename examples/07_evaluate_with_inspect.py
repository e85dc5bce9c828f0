"""A task of Inspect that a strategy solves: chains of sums, each right or wrong.

With any model, `-T` giving the task's arguments:

    inspect eval 07_evaluate_with_inspect.py --model openai-api/local/NAME -T strategy=majority:n=8

Run as it stands it serves an embedded model and compares one draw with a vote of four, which
finds the first of its draws in the ledger. Needs: pip install 'dwell[inspect]'
"""

import asyncio

from inspect_ai import Task, eval_async, task
from inspect_ai.dataset import Sample
from inspect_ai.model import get_model
from inspect_ai.scorer import pattern

from dwell.generators import TinyGenerator
from dwell.inspect import dwell_solver
from dwell.serve import Server, Settings
from dwell.serve.embedded import Embedded
from dwell.strategies import make
from dwell.tasks import get_task

ANSWER = r"^A(\d+)$"


@task
def sums(strategy="majority:n=8", ledger="runs/inspect", questions=10, seed=0):
    problems = get_task("chain").problems(questions, seed=seed)
    return Task(
        dataset=[Sample(id=p.id, input=p.prompt, target=p.reference) for p in problems],
        solver=dwell_solver(strategy, ledger=ledger, name="sums", checker=f"regex:{ANSWER}"),
        scorer=pattern(f"(?ms).*{ANSWER}"),  # the last, as the checker takes it
    )


async def main():
    settings = Settings(model="tiny-0.8m", strategy=make("sample"))
    async with Server(settings, Embedded(TinyGenerator("tiny-0.8m"))) as server:
        model = get_model("openai-api/local/tiny-0.8m", base_url=server.url, api_key="none")
        for strategy in ("sample", "majority:n=4"):
            (log,) = await eval_async(sums(strategy), model=model)
            right = log.results.scores[0].metrics["accuracy"].value
            new = sum(sample.metadata["dwell"]["new_draws"] for sample in log.samples)
            print(f"{strategy}: {right:.0%} right, {new} new draws")


if __name__ == "__main__":
    asyncio.run(main())
