"""A strategy on an OpenAI-compatible endpoint: here a scripted one on this machine.

For a real one, leave out the server and give its address and model; the key is read from
OPENAI_API_KEY.

python examples/04_endpoint.py
"""

import asyncio

from dwell.driver import Driver, RunPlan
from dwell.generators import Endpoint, FakeServer, Scripted
from dwell.ledger import Ledger
from dwell.records import Problem
from dwell.strategies import make


async def main() -> None:
    async with FakeServer(Scripted.coin(rate=0.7, right="yes", wrong="no")) as server:
        endpoint = Endpoint("coin", server.base_url)
        with Ledger(":memory:") as ledger:
            driver = Driver(
                ledger,
                generators={"solver": endpoint},
                on_done=lambda session: print(session.problem.prompt, session.answer),
            )
            problems = [Problem(id=str(i), prompt=f"Question {i}?") for i in range(5)]
            await driver.run(
                RunPlan(name=p.id, strategy=make("majority", n=9), problem=p) for p in problems
            )
            print(f"{ledger.totals().draws} draws recorded")
        await endpoint.close()


if __name__ == "__main__":
    asyncio.run(main())
