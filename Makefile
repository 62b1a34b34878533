# The commands of this project; each builds what it needs. `make setup` builds .venv alone.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: setup demo test check bench bench-gpu mutants soak lite-words clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: setup
	$(BIN)/python -m benchmarks.demo

test: check
	$(BIN)/python -m pytest

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python -m benchmarks

bench-gpu: setup
	$(BIN)/python -m benchmarks gpu

clean:
	rm -rf var

mutants: setup
	$(BIN)/python -m tests.mutants

soak: setup
	$(BIN)/python -m tests.soak $(PARTS)

# Trains the text tower and the linear layers of core/assets/lite again, into var/lite: core/assets/lite/MODEL_CARD.md
LITE_SURFACES := plain_weave,basket_weave,twill,satin,herringbone,gauze,knit,felt,leather,brushed_metal,cast_metal,paper,granite,perforated,wire_mesh,stripes,checks,corrugated,plastic,pile,washer,hex_nut,capsule,tablet,button
LITE_HELD_OUT := twill,leather,perforated,hex_nut,crack,fibre

lite-words: setup
	mkdir -p var/lite
	test -d var/lite/pictures || $(BIN)/aprilgan-admin dataset synth --out var/lite/pictures --varied --seed 41 \
	  --classes $(LITE_SURFACES) --defects all --train 1 --good 30 --per-defect 4
	$(BIN)/aprilgan-admin train --dataset mvtec --root var/lite/pictures --model lite --hold-out $(LITE_HELD_OUT) \
	  --epochs 8 --lr 3e-3 --schedule cosine --stitch 0 --centred --words-steps 1500 \
	  --words-out var/lite/words.safetensors --out var/lite/linear.safetensors
