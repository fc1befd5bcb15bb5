"""NNCF's int8 model, as a command of its own: another interpreter may have NNCF where this one has not.

    PYTHON nncf_file.py MODEL.onnx DATA.npz OUT.onnx [--per-tensor] [--transformer]

Asymmetric uint8 activations and symmetric int8 weights ("mixed" preset), fast bias correction, all samples of
DATA one by one. The overflow fix, for processors without VNNI, is off: it would only cost accuracy.
"""

import argparse
import sys

import nncf
import numpy as np
import onnx
from nncf.quantization.advanced_parameters import (
    AdvancedQuantizationParameters,
    OverflowFix,
    QuantizationParameters,
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("files", nargs=3, metavar="FILE")
    parser.add_argument("--per-tensor", action="store_true")
    parser.add_argument("--transformer", action="store_true")
    given = parser.parse_args()
    model, data, output = given.files
    with np.load(data) as arrays:
        name, rows = next(iter(arrays.items()))
    made = nncf.quantize(
        onnx.load(model),
        nncf.Dataset([{name: rows[i : i + 1]} for i in range(len(rows))]),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(rows),
        fast_bias_correction=True,
        model_type=nncf.ModelType.TRANSFORMER if given.transformer else None,
        advanced_parameters=AdvancedQuantizationParameters(
            overflow_fix=OverflowFix.DISABLE,
            weights_quantization_params=QuantizationParameters(per_channel=not given.per_tensor),
        ),
    )
    onnx.save(made, output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
