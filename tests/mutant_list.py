"""The mutants: a name, the change of the source that makes it, and the test that must fail then."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Change:
    """Text in a file of `core` that occurs once, and what stands in its place."""

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """A wrong form of the method. killer: the test's pytest id."""

    name: str
    killer: str
    changes: tuple[Change, ...]

    @property
    def files(self) -> set[str]:
        """The files it changes."""
        return {change.path for change in self.changes}


PARITY = "tests/core/test_april_gan.py::"
STREAM = "tests/core/test_april_gan_stream.py::"
ADAPTER = "tests/core/test_adapter.py::"

ZERO_SHOT_MAPS = PARITY + "test_every_zero_shot_stage_map_is_the_oracles"
FEW_SHOT_MAPS = PARITY + "test_every_few_shot_stage_map_is_the_oracles"
WHOLE_MAP = PARITY + "test_the_map_is_the_oracles_sum_of_stages_and_branches"
TEXT_FEATURES = PARITY + "test_text_features_are_the_oracles"
TEXT_SCORE = PARITY + "test_the_text_score_is_the_oracles"
PAPER_SCORE = PARITY + "test_paper_mode_scores_few_shot_by_words_and_the_peaks_rescaled_over_the_set"
OWN_BANK = STREAM + "test_frames_of_two_products_in_one_batch_read_each_its_own_bank_and_words"


def one(name: str, killer: str, path: str, old: str, new: str) -> Mutant:
    return Mutant(name, killer, (Change(path, old, new),))


LAYER = "torch.nn.functional.linear({}.float(), {}.weights[index], {}.biases[index])"

# method.md section 1, in its order, then what it tells elsewhere.
OF_THE_METHOD = (
    one(
        "layer off by one",
        ZERO_SHOT_MAPS,
        "core/encoder.py",
        "{stage - 1 for stage in spec.stages}",
        "{stage - 2 for stage in spec.stages}",
    ),
    one(
        "ln_post added",
        ZERO_SHOT_MAPS,
        "core/encoder.py",
        'output_fmt="NCHW",',
        'output_fmt="NCHW", normalize_intermediates=True,',
    ),
    Mutant(
        "CLS kept",
        FEW_SHOT_MAPS,
        (
            Change("core/encoder.py", 'output_fmt="NCHW",', 'output_fmt="NCHW", output_extra_tokens=True,'),
            Change(
                "core/encoder.py",
                'maps = tuple(output["image_intermediates"][: len(self.stages)])',
                "maps = tuple(torch.cat([cls, stage.flatten(2).transpose(1, 2)], dim=1)[:, :-1].transpose(1, 2)"
                ".reshape(stage.shape) for cls, stage in"
                ' zip(output["image_intermediates_prefix"], output["image_intermediates"]))',
            ),
        ),
    ),
    one(
        "softmax before upsample",
        ZERO_SHOT_MAPS,
        "core/methods/april_gan.py",
        "torch.sigmoid(upsample(logits, size))",
        "upsample(torch.sigmoid(logits), size)",
    ),
    one("align_corners False", FEW_SHOT_MAPS, "core/anomaly_map.py", "align_corners=True", "align_corners=False"),
    one(
        "mean for sum: paper mode",
        WHOLE_MAP,
        "core/inspection.py",
        "zero_shot.sum(dim=0)",
        "zero_shot.mean(dim=0)",
    ),
    one(
        "mean for sum: the daemon's map",
        PARITY + "test_the_daemons_road_gives_the_scores_and_maps_of_the_streaming_inspection",
        "core/anomaly_map.py",
        "    return total",
        "    return total / len(stage_grids)",
    ),
    Mutant(
        "bank after the linear",
        FEW_SHOT_MAPS,
        (
            Change(
                "core/scorer.py",
                "stage_tokens(features.stages[index], grid",
                f"stage_tokens({LAYER.format('features.stages[index]', *['self.zero_shot._adapter'] * 2)}, grid",
            ),
            Change(
                "core/leave_one_out.py",
                "stage_tokens(part.stages[index], grid",
                f"stage_tokens({LAYER.format('part.stages[index]', *['scorer.zero_shot._adapter'] * 2)}, grid",
            ),
        ),
    ),
    one("temperature 1", TEXT_SCORE, "core/zero_shot.py", "TEMPERATURE = 100.0", "TEMPERATURE = 1.0"),
    one(
        "normal/abnormal swapped: sentences",
        TEXT_FEATURES,
        "core/prompts.py",
        "ensemble(NORMAL_STATES), ensemble(ABNORMAL_STATES)",
        "ensemble(ABNORMAL_STATES), ensemble(NORMAL_STATES)",
    ),
    one(
        "normal/abnormal swapped: map",
        ZERO_SHOT_MAPS,
        "core/methods/april_gan.py",
        "text[1] - text[0]",
        "text[0] - text[1]",
    ),
    one(
        "normal/abnormal swapped: image score",
        TEXT_SCORE,
        "core/zero_shot.py",
        "text[1] - text[0]",
        "text[0] - text[1]",
    ),
    one(
        "product A reads product B's bank",
        OWN_BANK,
        "core/scorer.py",
        "[memory.tokens[index] for memory in memories]",
        "[memories[0].tokens[index] for memory in memories]",
    ),
    one(
        "product A reads product B's rule",
        OWN_BANK,
        "core/scorer.py",
        "self._judged(evidence, mine, prepared, want_map)",
        "self._judged(evidence, mine, banks[0], want_map)",
    ),
    one(
        "product A reads product B's words",
        OWN_BANK,
        "core/scorer.py",
        "                prepared.text_features,\n            )",
        "                banks[0].text_features,\n            )",
    ),
    one(
        "the other activation",
        ZERO_SHOT_MAPS,
        "core/towers.py",
        'config["quick_gelu"] = spec.activation == "quickgelu"',
        'config["quick_gelu"] = spec.activation != "quickgelu"',
    ),
    one(
        "sentences of any length",
        TEXT_FEATURES,
        "core/text.py",
        "normalize(embed(state), dim=-1).mean(dim=0)",
        "embed(state).mean(dim=0)",
    ),
    one(
        "tokens of any length against the text",
        ZERO_SHOT_MAPS,
        "core/methods/april_gan.py",
        "normalize(linear(tokens, weight, bias), dim=-1)",
        "linear(tokens, weight, bias)",
    ),
    one(
        "linear layer without its bias",
        ZERO_SHOT_MAPS,
        "core/methods/april_gan.py",
        "linear(tokens, weight, bias)",
        "linear(tokens, weight)",
    ),
    one(
        "few-shot distances halved in paper mode",
        FEW_SHOT_MAPS,
        "core/inspection.py",
        "scale = 2.0",
        "scale = 1.0",
    ),
    one(
        "paper score without its min-max",
        PAPER_SCORE,
        "core/inspection.py",
        "(peaks - peaks.min()) / span if",
        "peaks if",
    ),
    one(
        "adapter of the other activation taken",
        ADAPTER + "test_an_adapter_of_another_encoder_is_refused_with_both_sides_named",
        "core/adapter.py",
        '        "activation": (header.activation, encoder.spec.activation),\n',
        "",
    ),
)

OF_THE_STREAM = (
    one(
        "a frame's score takes its batch's lowest away",
        STREAM + "test_a_frame_scores_the_same_alone_and_in_any_company_and_order",
        "core/score_rule.py",
        "return np.asarray(score)",
        "return np.asarray(score - score.min())",
    ),
    one(
        "results in the order of the products",
        OWN_BANK,
        "core/scorer.py",
        "[results[row] for row in range(len(banks))]",
        "list(results.values())",
    ),
    one(
        "leave-one-out keeps the reference's own tokens",
        "tests/core/test_scoring.py::"
        "test_leave_one_out_scores_each_reference_against_a_bank_without_all_its_own_tokens",
        "core/leave_one_out.py",
        "self.sources != (-1 if without is None else without)",
        "self.sources != -1",
    ),
    one(
        "nan accepted",
        "tests/core/test_decide.py::test_a_score_that_is_not_finite_is_never_accepted",
        "core/decide.py",
        "if not math.isfinite(score):",
        "if math.isinf(score):",
    ),
    one(
        "the threshold itself rejected",
        "tests/core/test_decide.py::test_the_threshold_itself_is_still_accepted",
        "core/decide.py",
        "if score > thresholds.reject:",
        "if score >= thresholds.reject:",
    ),
    one(
        "conformal p-value off by one",
        "tests/core/test_calibration.py::"
        "test_p_values_of_a_calibrated_bank_lie_between_0_and_1_and_fall_as_the_score_rises",
        "core/calibration.py",
        "return (1 + at_least) / (len(good_scores) + 1)",
        "return at_least / len(good_scores)",
    ),
    one(
        "conformal threshold off by one",
        "tests/core/test_calibration.py::test_a_part_is_above_the_threshold_exactly_when_its_p_value_is_at_most_p",
        "core/calibration.py",
        "math.floor(promised * (n + 1) + 1e-9) - 1",
        "min(n - 1, math.floor(promised * (n + 1) + 1e-9))",
    ),
    one(
        "provisional called calibrated",
        "tests/core/test_calibration.py::test_a_provisional_threshold_promises_nothing_and_says_so",
        "core/calibration.py",
        "review=threshold,\n            state=ThresholdState.PROVISIONAL",
        "review=threshold,\n            state=ThresholdState.CALIBRATED",
    ),
    one(
        "bank of another adapter taken",
        STREAM + "test_a_bank_made_with_another_adapter_is_refused_with_both_digests",
        "core/bank.py",
        '        "adapter": (header.adapter_sha256, adapter_sha256),\n',
        "",
    ),
)

OVERLAP = "tests/core/metrics/test_per_region_overlap.py::"

OF_THE_METRICS = (
    one(
        "regions touch at their sides alone",
        OVERLAP + "test_pixels_that_touch_at_a_corner_are_one_region",
        "core/metrics/per_region_overlap.py",
        "connectivity=8",
        "connectivity=4",
    ),
    one(
        "overlap not cut on the line at the limit",
        OVERLAP + "test_the_limit_cuts_the_line_that_a_tie_makes",
        "core/metrics/per_region_overlap.py",
        "share * np.diff(y) / 2",
        "np.diff(y) / 2",
    ),
    one(
        "overlap weighed by the region's size",
        OVERLAP + "test_a_region_counts_alike_whatever_its_size",
        "core/metrics/pixel_level.py",
        "weights=1.0 / (items >> PLACE_BITS)",
        "weights=np.ones(len(items))",
    ),
    one(
        "reference overlap finds the threshold itself",
        OVERLAP + "test_the_reference_form_detects_strictly_above_its_first_threshold_the_least_score",
        "core/metrics/score_curve.py",
        "self.overlap[place + 1 :]",
        "self.overlap[place:]",
    ),
    one(
        "a tie counts as the right order",
        "tests/core/metrics/test_pixel_level.py::test_a_constant_map_tells_nothing_and_says_so",
        "core/metrics/threshold_figures.py",
        "(piece.false_above + piece.false) / 2",
        "piece.false_above",
    ),
)

MUTANTS = (*OF_THE_METHOD, *OF_THE_STREAM, *OF_THE_METRICS)
