#!/usr/bin/env python3
"""One MPO layer in other libraries beside ours: the same legs, bond dimension, batch and threads, float32, forward.

    layers.py [--ours build/bench/bench/mpo_layer_times] [--threads N] [--rounds N] [--quick] [--json FILE]

Peers, where they are installed: tltorch (FactorizedLinear "blocktt", factorized and reconstructed), torchTT
(LinearLayerTT). Beside them torch's dense layer, and our plan and dense product (bench/peers/layer_times.cpp, built by
scripts/bench or `cmake --build --preset bench --target mpo_layer_times`). Every round takes all of them in turn; the
table has medians in milliseconds, and medians of the ratios to our plan in the same round.

Peers are never needed to build: pip install torch tensorly-torch torchTT, outside the repository.
"""
import argparse
import json
import statistics
import time
import warnings

import torch

from ours import Ours

warnings.filterwarnings("ignore")

POINTS = [  # out legs, in legs, bond, batch
    ("64x64", "64x64", 64, 1),
    ("64x64", "64x64", 64, 32),
    ("64x64", "64x64", 64, 512),
    ("256x16", "16x256", 64, 32),
    ("256x16", "16x256", 64, 512),
    ("16x16x16", "16x16x16", 64, 32),
    ("16x16x16", "16x16x16", 64, 512),
    ("48x32", "24x24", 64, 32),
    ("48x32", "24x24", 64, 512),
    ("4096x1", "1x4096", 64, 512),
]


def legs(text):
    return tuple(int(n) for n in text.split("x"))


def product(numbers):
    result = 1
    for n in numbers:
        result *= n
    return result


def tltorch_layer(implementation):
    """A function that makes a layer of tltorch, or None."""
    try:
        import tltorch
    except ImportError:
        return None

    def make(out, into, chi):
        layer = tltorch.FactorizedLinear(into, out, bias=False, factorization="blocktt", rank=chi,
                                         implementation=implementation)
        for factor in layer.weight.factors:
            torch.nn.init.normal_(factor, std=chi ** -0.5)
        return layer

    return make


def torchtt_layer():
    try:
        import torchtt
    except ImportError:
        return None

    class Flat(torch.nn.Module):
        """The layer takes the legs of a row apart."""

        def __init__(self, out, into, chi):
            super().__init__()
            bonds = [1] + [chi] * (len(out) - 1) + [1]
            self.into = into
            self.layer = torchtt.nn.LinearLayerTT(list(into), list(out), bonds, dtype=torch.float32)

        def forward(self, x):
            return self.layer(x.reshape(x.shape[0], *self.into))

    return Flat


def milliseconds(run, least=0.05):
    """Mean of the calls in `least` seconds, one at least."""
    calls, begin = 0, time.perf_counter()
    while True:
        run()
        calls += 1
        spent = time.perf_counter() - begin
        if spent > least:
            return 1e3 * spent / calls


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", default="build/bench/bench/mpo_layer_times")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="3 rounds of three points")
    parser.add_argument("--json", help="write all medians to a file")
    options = parser.parse_args()
    rounds = 3 if options.quick else options.rounds
    points = POINTS[1:6:2] if options.quick else POINTS
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    makers = {"tltorch factorized": tltorch_layer("factorized"), "tltorch reconstructed": tltorch_layer("reconstructed"),
              "torchTT": torchtt_layer()}
    for name, make in makers.items():
        if make is None:
            print(f"layers.py: no {name}: not installed")
    ours = Ours(options.ours)
    rows = []
    for out, into, chi, batch in points:
        x = torch.randn(batch, product(legs(into)))
        dense = torch.nn.Linear(x.shape[1], product(legs(out)), bias=False)
        sides = {"torch dense": dense}
        for name, make in makers.items():
            if make is not None:
                sides[name] = make(legs(out), legs(into), chi)
        times = {name: [] for name in ["ours", "our dense", *sides]}
        multiply_adds = None
        with torch.no_grad():
            for name in list(sides):
                try:
                    sides[name](x)
                except RuntimeError as error:  # torchTT forms an outer product of 2 TB where a leg is 1
                    print(f"layers.py: no {name} here: {str(error).splitlines()[0][-90:]}")
                    del sides[name], times[name]
            for _ in range(rounds):
                plan, our_dense, *multiply_adds = ours.ask(
                    f"{out} : {into} {chi} {batch} {options.threads}")
                times["ours"].append(plan)
                times["our dense"].append(our_dense)
                for name, side in sides.items():
                    times[name].append(milliseconds(lambda: side(x)))
        print(f"\n{out} : {into}, bond {chi}, batch {batch}: {multiply_adds[0] / multiply_adds[1]:.3g} of dense's "
              f"multiply-adds", flush=True)
        for name, each in times.items():
            ratio = statistics.median(a / b for a, b in zip(each, times["ours"]))
            print(f"  {name:22} {statistics.median(each):10.3f} ms  {ratio:8.2f} x ours", flush=True)
            rows.append({"out": out, "in": into, "bond": chi, "batch": batch, "side": name,
                         "milliseconds": statistics.median(each), "of_ours": ratio})
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"torch": torch.__version__, "threads": options.threads, "rounds": rounds, "rows": rows}, file,
                      indent=1)


if __name__ == "__main__":
    main()
