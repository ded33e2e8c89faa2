"""`vllm:MODEL`: vLLM in this process; its engine batches the calls of all episodes as they come and go."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import exp, log
from time import perf_counter
from typing import Any, Self

from iterreason.background import aside
from iterreason.calls import Call, Capabilities, Message, Reply, Sample, Sampling, Tokens
from iterreason.errors import MissingExtra, ModelFailed
from iterreason.images import decode
from iterreason.models import OnText, installed
from iterreason.models.batching import CLOSED, one_line
from iterreason.models.failures import TOO_LONG
from iterreason.models.letters import first_tokens
from iterreason.models.ranking import Read, Reading, place_of, rank, ranked
from iterreason.models.vllm_settings import Settings, adapter_room
from iterreason.models.wire import scored, seed

MOST_IMAGES = 8  # in one prompt
# xgrammar, vLLM's first choice, refuses texts bound by both pattern and length, as our questions are. White space costs
# tokens and gives small models room to ramble.
GRAMMARS: dict[str, Any] = {"backend": "guidance", "disable_any_whitespace": True}
END_SECONDS = 5.0  # for the engine's process to end by itself
CPU_OPTIONS: dict[str, Any] = {
    "dtype": "float32",
    "enforce_eager": True,
    "block_size": 32,  # the default of 128 never caches a shorter prompt
    "distributed_executor_backend": "uni",
}


class VllmEngine:
    """A language or vision-language model that vLLM runs in this process; both roles may share it.

    engine: vLLM's AsyncLLM, started in the running event loop; calls from others are handed over to that one.

    A read-out's letters are all scored, however unlikely; a look's choices are scored as whole answers. A sample's
    log-probabilities are the model's own before temperature, but after the grammar where the call has a schema.
    A prompt is computed once for all samples of a call; a greedy call has one sample, given as often as was asked.
    """

    def __init__(self, engine: Any, settings: Settings) -> None:
        from vllm.lora.request import LoRARequest

        self._engine, self._tokenizer = engine, engine.get_tokenizer()
        self._adapter = LoRARequest("adapter", 1, str(settings.lora)) if settings.lora else None
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count()
        self._closed = False
        config = engine.model_config
        self._capabilities = Capabilities(
            settings.name, images=bool(config.is_multimodal_model), schema=True, logprobs=True, scores=True, ranks=True,
            holds=True, samples=True, cached_tokens=True, context_tokens=int(config.max_model_len),
        )  # fmt: skip

    @classmethod
    async def open(cls, settings: Settings) -> Self:
        """Start the engine, which takes from seconds to minutes. Raises MissingExtra, ModelFailed."""
        if not installed("vllm"):
            raise MissingExtra("vLLM in this process needs the package vllm; run: pip install 'iterreason[vllm]'")
        room = adapter_room(settings.lora) if settings.lora else 0
        try:
            engine = await aside(lambda: _started(settings, room))
            await engine.reset_mm_cache()  # it ends a warm-up that otherwise goes on
            return cls(engine, settings)
        except Exception as error:  # the engine may fail in any way: memory, a model that it does not know, a file
            raise ModelFailed(f"vllm:{settings.model} cannot be run: {one_line(error)}") from error

    def capabilities(self) -> Capabilities:
        """Everything; images where the model takes them."""
        return self._capabilities

    async def complete(self, call: Call, on_text: OnText | None = None) -> Reply:
        """Answer one call beside all others that run; `on_text` gets the first sample's text as it grows."""
        began = perf_counter()
        if self._closed or self._loop.is_closed():
            return Reply(error=CLOSED)
        if asyncio.get_running_loop() is not self._loop:
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self.complete(call, on_text), self._loop))
        try:
            answer = await (rank(call, partial(self._read, call)) if ranked(call) else self._answer(call, on_text))
        except Exception as error:  # a request that vLLM refuses, or an engine that died
            reason = one_line(error)
            answer = Reply(error=f"context: {reason}" if TOO_LONG.search(reason) else reason)
        return replace(answer, seconds=perf_counter() - began)

    async def close(self) -> None:
        """End the engine's process; safe to call twice."""
        if not self._closed:
            self._closed = True
            engine, self._engine = self._engine, None
            await aside(lambda: engine.shutdown(timeout=END_SECONDS))

    # -------------------------------------------------------------- one request

    async def _answer(self, call: Call, on_text: OnText | None) -> Reply:
        prompt = await self._prompt(call)
        if fault := self._too_long(prompt, call.sampling.max_tokens):
            return Reply(error=fault)
        letters = first_tokens(self._tokenizer, call.choices) if scored(call) else []
        output = await self._generate(prompt, _parameters(call, letters), on_text)
        samples = tuple(
            Sample(one.text, _logprobs(one), one.finish_reason or "unknown")
            for one in sorted(output.outputs, key=lambda one: one.index)
        )
        if call.sampling.temperature == 0:
            samples *= call.sampling.n
        scores = tuple(_score(output.outputs[0].logprobs[0], tokens) for tokens in letters)
        return Reply(samples, scores, _counted(output))

    async def _read(self, call: Call, choice: str) -> Reading:
        """Have the model read the prompt with this choice as its reply, a request for each token of the choice.

        Each takes what stands before out of the prefix cache. The log-probabilities of a prompt as a whole, which vLLM
        gives too, would be computed without the cache, and are wrong or fatal with an adapter.
        """
        prompt = await self._prompt(call, choice)
        if fault := self._too_long(prompt, 1):
            return Reading(error=fault)
        ids = prompt["prompt_token_ids"]
        texts = [self._tokenizer.decode([token]) for token in ids]
        first, end = place_of(texts, choice)
        outputs = await asyncio.gather(*(self._next(prompt, place) for place in range(first, end)))
        counts = [_counted(output) for output in outputs]
        read = [
            Read(texts[place], output.outputs[0].logprobs[0][ids[place]].logprob)
            for place, output in zip(range(first, end), outputs, strict=True)
        ]
        longest = max(counts, key=lambda count: count.prompt, default=Tokens())
        return Reading(read, replace(longest, completion=sum(count.completion for count in counts)))

    async def _next(self, prompt: Any, place: int) -> Any:
        """The output of one token after the prompt's first ones, with the log-probability of the one that is there."""
        from vllm import SamplingParams

        before = {**prompt, "prompt_token_ids": prompt["prompt_token_ids"][:place]}
        wanted = [prompt["prompt_token_ids"][place]]
        return await self._generate(
            before, SamplingParams(max_tokens=1, temperature=0.0, logprobs=1, logprob_token_ids=wanted), None
        )

    async def _prompt(self, call: Call, reply: str | None = None) -> Any:
        """The prompt as vLLM takes it: rendered by the model's chat template, images prepared."""
        from vllm.renderers import ChatParams

        messages = [self._message(message) for message in call.prompt.messages]
        if reply is not None:
            messages.append({"role": "assistant", "content": self._as_data(reply)})
        rendering = ChatParams(chat_template_kwargs={"add_generation_prompt": reply is None})
        _, [prompt] = await self._engine.renderer.render_chat_async([messages], rendering)
        return prompt

    def _message(self, message: Message) -> dict[str, Any]:
        if not message.views:
            return {"role": message.role, "content": self._as_data(message.text)}
        parts = [
            {"type": "text", "text": self._as_data(part)}
            if isinstance(part, str)
            else {"type": "image_pil", "image_pil": decode(part)}
            for part in message.parts
        ]
        return {"role": message.role, "content": parts}

    def _as_data(self, text: str) -> str:
        """The text with a blank in what would be read as a control token: text from an image must not end a turn."""
        for token in self._tokenizer.all_special_tokens:
            text = text.replace(token, f"{token[:1]} {token[1:]}")
        return text

    def _too_long(self, prompt: Any, reply: int) -> str:
        length, most = len(prompt["prompt_token_ids"]), self._capabilities.context_tokens or 0
        if length + reply <= most:
            return ""
        needs = f"the prompt's {length:,} tokens and the reply's {reply:,}"
        return f"context: {needs} pass the {most:,} of {self._capabilities.model}"

    async def _generate(self, prompt: Any, parameters: Any, on_text: OnText | None) -> Any:
        """The finished output of one request; whoever is cancelled here ends it in the engine, too."""
        from vllm.sampling_params import RequestOutputKind

        parameters.output_kind = RequestOutputKind.CUMULATIVE if on_text else RequestOutputKind.FINAL_ONLY
        output, shown = None, 0
        number = f"iterreason-{next(self._numbers)}"
        async for output in self._engine.generate(prompt, parameters, number, lora_request=self._adapter):
            if on_text and (text := next((one.text for one in output.outputs if one.index == 0), ""))[shown:]:
                on_text(text[shown:])
                shown = len(text)
        if output is None or not output.finished:
            raise ModelFailed("the engine ended the request without a reply")
        return output


def _started(settings: Settings, room: int) -> Any:
    """Build the engine; blocks. room: the rank of its adapter, 0 without one."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.platforms import current_platform
    from vllm.v1.engine.async_llm import AsyncLLM

    options: dict[str, Any] = {"enable_lora": True, "max_lora_rank": room} if room else {}
    if current_platform.is_cpu():
        options |= CPU_OPTIONS
    arguments = AsyncEngineArgs(
        model=settings.model,
        gpu_memory_utilization=settings.memory,
        max_model_len=settings.length,
        tensor_parallel_size=settings.gpus,
        enable_prefix_caching=True,
        limit_mm_per_prompt={"image": MOST_IMAGES, "video": 0},
        structured_outputs_config=GRAMMARS,
        disable_log_stats=True,
        **options,
    )
    return AsyncLLM.from_engine_args(arguments)


def _parameters(call: Call, letters: Sequence[Sequence[int]]) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    sampling: Sampling = call.sampling
    greedy = sampling.temperature == 0
    ids = sorted({token for tokens in letters for token in tokens})
    return SamplingParams(
        n=1 if greedy else sampling.n,
        temperature=sampling.temperature,
        max_tokens=sampling.max_tokens,
        seed=None if sampling.seed is None or greedy else seed(sampling.seed, call.sample),
        logprobs=len(ids),
        logprob_token_ids=ids or None,
        structured_outputs=StructuredOutputsParams(json=call.schema) if call.schema else None,
    )


def _logprobs(output: Any) -> tuple[float, ...] | None:
    told = zip(output.token_ids, output.logprobs or (), strict=False)
    return tuple(entry[token].logprob for token, entry in told) or None


def _score(told: Mapping[int, Any], tokens: Sequence[int]) -> float | None:
    masses = [exp(told[token].logprob) for token in tokens if token in told]
    return log(sum(masses)) if sum(masses) > 0 else None


def _counted(output: Any) -> Tokens:
    made = sum(len(one.token_ids) for one in output.outputs)
    return Tokens(len(output.prompt_token_ids), output.num_cached_tokens or 0, made)
