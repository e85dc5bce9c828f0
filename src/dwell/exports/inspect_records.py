"""Records of Inspect's own classes: samples, events, and a whole log with its accuracy.

Inspect is loaded when the first is made: the project does not need it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from importlib import import_module
from typing import Any

import numpy as np

import dwell
from dwell.errors import MissingExtraError
from dwell.exports.questions import Question, Sample
from dwell.exports.traces import Drawn, Trace

#: What the scores are called in logs.
SCORER = "dwell"


class Records:
    """Makes Inspect's records.

    Attributes:
        log: the module `inspect_ai.log`.

    Raises:
        MissingExtraError: Inspect is not installed.
    """

    def __init__(self) -> None:
        try:
            import_module("inspect_ai")
        except ModuleNotFoundError as error:
            raise MissingExtraError("Writing logs of Inspect", "inspect-ai", "inspect") from error
        self.log = import_module("inspect_ai.log")
        self._model = import_module("inspect_ai.model")
        self._event = import_module("inspect_ai.event")
        self._scorer = import_module("inspect_ai.scorer")
        self._now = datetime.now(UTC)

    # ---- samples ---------------------------------------------------------------------------

    def run(self, trace: Trace, question: Question, model: str, *, right: bool) -> Any:
        """A sample for what a strategy made of a problem."""
        chosen = trace.chosen
        charged = {kind: amount for kind, amount in trace.charged.items() if amount}
        votes = Counter(c.answer for c in trace.draws if c.answer is not None)
        account = {
            "strategy": trace.strategy.spec(),
            "status": trace.status,
            "draws": len(trace.draws),
            "votes": dict(votes.most_common(16)),
            "charged": charged,
        }
        usage = self._usage(
            trace.charged.prompt_tokens, trace.charged.output_tokens,
            trace.charged.cached_tokens, trace.charged.usd,
        )  # fmt: skip
        return self._sample(
            question, trace.repetition + 1, model,
            text=chosen.text if chosen is not None else trace.answer or "",
            stop=_stop(chosen.status if chosen is not None else "end"),
            right=right, answer=trace.answer, usage=usage, seconds=trace.charged.seconds,
            account=account, events=[self._told(one, model) for one in trace.told],
        )  # fmt: skip

    def draw(self, question: Question, epoch: int, sample: Sample, model: str) -> Any:
        """A sample for one draw."""
        return self._sample(
            question, epoch, model, text=sample.text, stop="max_tokens" if sample.cut else "stop",
            right=sample.correct, answer=sample.answer, usage=self._usage(0, sample.tokens, 0, 0),
            seconds=None, account={}, events=[], reasoning=sample.reasoning,
        )  # fmt: skip

    def _sample(
        self,
        question: Question,
        epoch: int,
        model: str,
        *,
        text: str,
        stop: str,
        right: bool | None,
        answer: str | None,
        usage: Any,
        seconds: float | None,
        account: Mapping[str, Any],
        events: Sequence[Any],
        reasoning: str = "",
    ) -> Any:
        asked = [self._message(m) for m in question.messages]
        output = self._output(model, text, stop, reasoning)
        output.usage = usage
        scores = {}
        if right is not None:
            value = "C" if right else "I" if answer is not None else "N"
            scores[SCORER] = self._scorer.Score(value=value, answer=answer)
        return self.log.EvalSample(
            id=question.id,
            epoch=epoch,
            input=question.prompt if question.prompt is not None else asked,
            target=question.reference or "",
            messages=[*asked, output.message],
            output=output,
            scores=scores,
            metadata={**question.tags, **({"dwell": account} if account else {})},
            model_usage={model: usage},
            events=list(events),
            total_time=seconds,
        )

    def _message(self, message: Mapping[str, Any]) -> Any:
        kinds = {
            "system": self._model.ChatMessageSystem,
            "assistant": self._model.ChatMessageAssistant,
            "user": self._model.ChatMessageUser,
        }
        kind = kinds.get(message["role"], self._model.ChatMessageUser)
        content = message.get("content") or ""
        return kind(content=content if isinstance(content, str) else str(content))

    def _output(self, model: str, text: str, stop: str, reasoning: str = "") -> Any:
        content: Any = text
        if reasoning:
            content = [
                self._model.ContentReasoning(reasoning=reasoning),
                self._model.ContentText(text=text),
            ]
        return self._model.ModelOutput.from_content(model, content, stop_reason=stop)

    def _usage(self, prompt: float, output: float, cached: float, usd: float) -> Any:
        return self._model.ModelUsage(
            input_tokens=round(prompt),
            output_tokens=round(output),
            total_tokens=round(prompt + cached + output),
            input_tokens_cache_read=round(cached),
            total_cost=usd or None,
        )

    def _told(self, one: Any, model: str) -> Any:
        """An event: a draw is a call of the model, a score is one in between."""
        times = {"timestamp": self._now, "working_start": 0.0}
        if not isinstance(one, Drawn):
            value = None if math.isnan(one.score) else one.score
            data = {"verifier": one.verifier, "score": value, "text": one.text}
            return self._event.InfoEvent(source="dwell score", data=data, **times)
        candidate, request = one.candidate, one.request
        asked = [self._message({"role": r, "content": t}) for r, t in candidate.context.messages]
        if candidate.context.partial:
            asked.append(
                self._message({"role": "assistant", "content": candidate.context.partial})
            )
        output = self._output(model, candidate.added, _stop(candidate.status))
        output.usage = self._usage(0, candidate.output_tokens, 0, 0)
        config = {
            name: value
            for name in ("temperature", "max_tokens")
            if (value := getattr(request, name)) is not None
        }
        return self._event.ModelEvent(
            model=model, input=asked, tools=[], tool_choice="none", output=output,
            config=self._model.GenerateConfig(**config),
            metadata={"draw": candidate.index, "answer": candidate.answer}, **times,
        )  # fmt: skip

    # ---- the log ---------------------------------------------------------------------------

    def whole_log(
        self,
        task: str,
        model: str,
        samples: Sequence[Any],
        *,
        label: str,
        solver: str,
        params: Mapping[str, Any],
        about: Mapping[str, Any],
    ) -> Any:
        """A finished log with its accuracy."""
        ids = list(dict.fromkeys(sample.id for sample in samples))
        # The viewer tells logs apart by these.
        name = repr((task, model, solver, sorted(params.items()), sorted(about.items()), ids))
        digest = blake2b(name.encode("utf-8", "replace"), digest_size=11).hexdigest()
        stamp, log = self._now.isoformat(timespec="seconds"), self.log
        usage = sum((s.model_usage[model] for s in samples), start=self._usage(0, 0, 0, 0))
        return log.EvalLog(
            version=2,
            status="success",
            eval=log.EvalSpec(
                created=stamp,
                eval_id=digest,
                run_id=digest,
                task_id=digest,
                task=task,
                model=model,
                tags=[label],
                solver=solver,
                solver_args=dict(params),
                dataset=log.EvalDataset(name=task, samples=len(ids), sample_ids=ids),
                config=log.EvalConfig(epochs=max(sample.epoch for sample in samples)),
                packages={"dwell": dwell.__version__},
                metadata=dict(about),
            ),
            plan=log.EvalPlan(
                name=solver, steps=[log.EvalPlanStep(solver=solver, params=dict(params))]
            ),
            results=log.EvalResults(
                total_samples=len(samples), completed_samples=len(samples),
                scores=[self._accuracy(samples)],
            ),
            stats=log.EvalStats(started_at=stamp, completed_at=stamp, model_usage={model: usage}),
            samples=list(samples),
        )  # fmt: skip

    def _accuracy(self, samples: Sequence[Any]) -> Any:
        """Accuracy with its standard error, clustered by question: its epochs are averaged."""
        by_question: dict[Any, list[float]] = {}
        for sample in samples:
            if sample.scores:
                right = sample.scores[SCORER].value == "C"
                by_question.setdefault(sample.id, []).append(float(right))
        means = np.array([np.mean(values) for values in by_question.values()])
        metrics = {"accuracy": float(means.mean())} if len(means) else {}
        if len(means) > 1:
            metrics["stderr"] = float(means.std(ddof=1) / math.sqrt(len(means)))
        named = {name: self.log.EvalMetric(name=name, value=v) for name, v in metrics.items()}
        return self.log.EvalScore(name=SCORER, scorer=SCORER, metrics=named)


def _stop(status: str) -> str:
    """Why a text halted, in Inspect's words."""
    return "max_tokens" if status == "cap" else "stop"
