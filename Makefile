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

# Trains the text tower, then the linear layers of core/assets/lite again, into var/lite: core/assets/lite/MODEL_CARD.md
LITE_SURFACES := plain_weave,basket_weave,twill,satin,herringbone,gauze,knit,felt,leather,brushed_metal,cast_metal,paper,granite,perforated,wire_mesh,stripes,checks,corrugated,plastic,pile,washer,hex_nut,capsule,tablet,button
LITE_WORDS_DEFECTS := scratch,crack,hole,stain,colour_spot,specks,fibre,missing_part,dent,fold,patch
LITE_HELD_OUT := twill,leather,perforated,hex_nut,crack,fibre
SYNTH := $(BIN)/aprilgan-admin dataset synth --varied --classes $(LITE_SURFACES) --train 1
TRAIN := $(BIN)/aprilgan-admin train --dataset mvtec --model lite --hold-out $(LITE_HELD_OUT) --lr 3e-3 --schedule cosine --stitch 0

lite-words: setup
	mkdir -p var/lite
	test -d var/lite/for-words || $(SYNTH) --out var/lite/for-words --seed 1 --defects $(LITE_WORDS_DEFECTS) --good 22 --per-defect 5
	test -f var/lite/words.safetensors || $(TRAIN) --root var/lite/for-words --epochs 1 --words-steps 1500 \
	  --words-out var/lite/words.safetensors --out var/lite/first.safetensors
	test -d var/lite/for-layers || $(SYNTH) --out var/lite/for-layers --seed 41 --defects all --good 30 --per-defect 4
	$(TRAIN) --root var/lite/for-layers --weights var/lite/words.safetensors --centred --epochs 8 --out var/lite/linear.safetensors
