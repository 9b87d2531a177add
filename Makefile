# Each stage is a target; `make` alone lists them. CONFIG picks the run, ARGS overrides any value of it.
CONFIG ?= configs/demo.yaml
ARGS ?=
RUNS ?=
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
RUN := $(VENV)/bin/python -m stages
STAGES := data blip vqvae codes prior diffusion evaluation latents report

export PROMPT
.DEFAULT_GOAL := help
.PHONY: help setup all demo samples weights compare compare-text compare-codes compare-tones compare-diffusion test lint bench clean $(STAGES)

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 20
	@echo
	@echo '  CONFIG=configs/x.yaml picks the run (now $(CONFIG)), ARGS="--vqvae.max_steps 100" overrides its values, ARGS=--help lists'
	@echo '  them; of test ARGS are those of pytest, of bench the names of what is measured'

setup: $(READY) ## make .venv with pinned packages

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "error: Python 3.11 or newer is needed, found " + sys.version.split()[0] + "; name one: make setup PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: ## everything on the default data set: build it, train, sample, evaluate, report
	@$(MAKE) --no-print-directory all CONFIG=configs/demo.yaml

all: $(READY) ## every stage of CONFIG, in order; goes on where it was stopped
	@$(RUN) all --config $(CONFIG) $(ARGS)

data: $(READY) ## read and check captioned pictures, split them by picture
blip: $(READY) ## fine-tune BLIP and extract text and picture features
vqvae: $(READY) ## train the two-level VQ-VAE on pictures and joint embeddings
codes: $(READY) ## write every picture's and caption's codes into LMDB
prior: $(READY) ## train PixelSNAIL on the codes, given the text
diffusion: $(READY) ## train the diffusion baseline
evaluation: $(READY) ## score samples, baseline and controls on held-out captions
latents: $(READY) ## PCA and t-SNE of the test codes
report: $(READY) ## one self-contained page with every figure
$(STAGES):
	@$(RUN) $@ --config $(CONFIG) $(ARGS)

samples: $(READY) ## paint prompts: PROMPT="a red ship on a stormy sea at dusk"; without one, some test captions
	@$(RUN) samples --config $(CONFIG) $(if $(value PROMPT),--samples.prompt "$$PROMPT") $(ARGS)

weights: $(READY) ## fetch the pretrained checkpoints that CONFIG names
	@$(RUN) weights --config $(CONFIG) $(ARGS)

compare: $(READY) ## set runs beside each other in one page: RUNS="demo scenes"
	@$(RUN) compare $(RUNS) --config $(CONFIG) $(ARGS)

compare-text: $(READY) ## train the prior with each form of text (prior.text) on CONFIG's codes; one table
	@$(VENV)/bin/python -m benchmarks.comparisons.text --config $(CONFIG) $(ARGS)

compare-codes: $(READY) ## draw CONFIG's held-out captions and hold every code to the full forward's
	@$(VENV)/bin/python -m benchmarks.comparisons.codes --config $(CONFIG) $(ARGS)

compare-tones: $(READY) ## hold one skin tone out of half of an emoji set's gestures, read what is painted for it
	@$(VENV)/bin/python -m benchmarks.comparisons.tones --config $(CONFIG) $(ARGS)

compare-diffusion: $(READY) ## train the baseline on the prior's budget (pictures, then seconds) and score both
	@$(VENV)/bin/python -m benchmarks.comparisons.budgets --config $(CONFIG) $(ARGS)

# One process a core, each on one thread: most tests are too small to share their work out among cores.
test: $(READY) ## the whole test suite
	@OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest --numprocesses auto --dist loadscope $(ARGS)

lint: $(READY) ## ruff (format and lint) and mypy
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy

bench: $(READY) ## measure what README's performance table says
	@$(VENV)/bin/python -m benchmarks $(ARGS)

clean: ## remove what runs produced and the prepared data; asks first
	@printf 'Remove everything under checkpoints/ and data/ but the pictures fetched for MUSTI? [y/N] '; read answer; \
	if [ "$$answer" = y ]; then git clean -fdXq -e '!/data/musti-pictures' checkpoints data && echo removed; else echo kept; fi
