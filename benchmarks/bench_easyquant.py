"""EasyQuant on the sample networks: integer against float output, before and after, and the time it takes.

    python -m benchmarks.bench_easyquant

Scales are searched on calibration images and judged on evaluation images that the search never saw.
"""

import argparse
import sys
import time

from quantscope.core.calibration import calibrate
from quantscope.core.data import Samples, open_samples
from quantscope.core.evaluate import compare
from quantscope.core.model import Model, load_model
from quantscope.core.quantize import Encodings, quantize_model, resolve
from quantscope.core.recipe import Recipe
from quantscope.core.thresholds import Method
from quantscope.core.tuning import easyquant
from quantscope.sample_data import SAMPLES

METHODS = (Method.MINMAX, Method.MSE, Method.KL_V2)


def judged(model: Model, encodings: Encodings, samples: Samples) -> tuple[float, float]:
    """SQNR of the output in dB, and top-1 accuracy in percent."""
    found = compare(model, quantize_model(model, encodings).SerializeToString(), samples, latency=False)
    top1 = None if found.accuracy is None else found.accuracy.quantized_top1
    return found.output.sqnr_db, 100.0 * (top1 or 0.0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=300, help="evaluation images")
    given = parser.parse_args()
    print("| network | method | SQNR dB | top-1 % | after: SQNR dB | top-1 % | layers | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for name, sample in SAMPLES.items():
        model = load_model(sample.model)
        calibration = open_samples(sample.calibration, model)
        evaluation = open_samples(sample.evaluation, model).take(given.images)
        statistics = calibrate(model, calibration)
        for method in METHODS:
            recipe = Recipe().with_default(method=method)
            encodings = resolve(recipe, statistics, model)
            begin = time.perf_counter()
            tuned = easyquant(model, recipe, encodings, calibration)
            seconds = time.perf_counter() - begin
            before = judged(model, encodings, evaluation)
            after = judged(model, resolve(tuned.apply(recipe), statistics, model), evaluation)
            print(
                f"| {name} | {method} | {before[0]:.1f} | {before[1]:.1f} | {after[0]:.1f} | {after[1]:.1f} "
                f"| {len(tuned.layers)} | {seconds:.0f} |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
