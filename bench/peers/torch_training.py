#!/usr/bin/env python3
"""Steps of training at SmolLM2-135M's shape in PyTorch: what bench/training_bench.cpp's dense rows are compared with.

The same shapes, random weights, tokens and threads, float32, eager mode: one layer towards given outputs with all
seven weights and both norms trained, and the whole model with embedding and head frozen. A step is zero_grad,
forward, loss, backward, clipping to norm 1 and AdamW. Prints the milliseconds of a step: least, median, most.

    torch_training.py [--quick] [--threads N] [--rounds N] [--fused] [block] [model]

PyTorch is a peer, never needed to build: pip install torch, outside the repository.
"""
import argparse
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F

HIDDEN, INNER, HEADS, KV_HEADS, HEAD_DIM = 576, 1536, 9, 3, 64


class Norm(nn.Module):
    """RMSNorm by the operation of torch."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(HIDDEN))

    def forward(self, x):
        return F.rms_norm(x, (HIDDEN,), self.weight, 1e-5)


def rotary(length):
    """Cosines and sines (length, head_dim) of the angles of all positions."""
    frequencies = 1e5 ** (-torch.arange(0, HEAD_DIM, 2, dtype=torch.float64) / HEAD_DIM)
    angles = torch.outer(torch.arange(length, dtype=torch.float64), frequencies)
    angles = torch.cat((angles, angles), dim=1)
    return angles.cos().float(), angles.sin().float()


def rotated(x, cosines, sines):
    """x (windows, heads, length, head_dim), half by half."""
    a, b = x.chunk(2, dim=-1)
    return x * cosines + torch.cat((-b, a), dim=-1) * sines


class Layer(nn.Module):
    """One layer of a LLaMA decoder; attention is torch's fused one, causal, over grouped heads."""

    def __init__(self):
        super().__init__()
        keys = KV_HEADS * HEAD_DIM
        self.input_norm, self.post_norm = Norm(), Norm()
        self.q = nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.k = nn.Linear(HIDDEN, keys, bias=False)
        self.v = nn.Linear(HIDDEN, keys, bias=False)
        self.o = nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.gate = nn.Linear(HIDDEN, INNER, bias=False)
        self.up = nn.Linear(HIDDEN, INNER, bias=False)
        self.down = nn.Linear(INNER, HIDDEN, bias=False)
        for linear in (self.q, self.k, self.v, self.o, self.gate, self.up, self.down):
            nn.init.normal_(linear.weight, std=linear.in_features ** -0.5)

    def forward(self, x, cosines, sines):
        windows, length, _ = x.shape
        n = self.input_norm(x)

        def heads(y, count):
            return y.view(windows, length, count, HEAD_DIM).transpose(1, 2)

        q = rotated(heads(self.q(n), HEADS), cosines, sines)
        k = rotated(heads(self.k(n), KV_HEADS), cosines, sines)
        v = heads(self.v(n), KV_HEADS)
        k, v = (y.repeat_interleave(HEADS // KV_HEADS, dim=1) for y in (k, v))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        m = x + self.o(a.transpose(1, 2).reshape(windows, length, HEADS * HEAD_DIM))
        n = self.post_norm(m)
        return m + self.down(F.silu(self.gate(n)) * self.up(n))


class Model(nn.Module):
    """The decoder; its embedding is its head, and frozen."""

    def __init__(self, layers, vocab):
        super().__init__()
        self.embedding = nn.Parameter(0.04 * torch.randn(vocab, HIDDEN), requires_grad=False)
        self.layers = nn.ModuleList(Layer() for _ in range(layers))
        self.norm = Norm()

    def forward(self, tokens, cosines, sines):
        x = F.embedding(tokens, self.embedding)
        for layer in self.layers:
            x = layer(x, cosines, sines)
        return self.norm(x) @ self.embedding.T


def milliseconds(module, loss_of, rounds, fused):
    """Of every step but the first two."""
    trained = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-6, weight_decay=0, fused=fused or None)
    times = []
    for _ in range(rounds + 2):
        begin = time.perf_counter()
        optimizer.zero_grad(set_to_none=False)
        loss_of().backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        times.append(1e3 * (time.perf_counter() - begin))
    return times[2:]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="as the bench's: 1 window, 4 layers, 8192 tokens")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=0, help="steps; 9 of a layer and 5 of the model")
    parser.add_argument("--fused", action="store_true", help="torch's fused AdamW: faster, not the default")
    parser.add_argument("what", nargs="*", default=["block", "model"], help="block, model")
    options = parser.parse_args()
    torch.manual_seed(1)
    torch.set_num_threads(options.threads)
    windows, length = (1 if options.quick else 4), 512
    cosines, sines = rotary(length)

    for what in options.what:
        if what == "block":
            module = Layer()
            x, target = torch.randn(windows, length, HIDDEN), torch.randn(windows, length, HIDDEN)

            def loss_of():
                return F.mse_loss(module(x, cosines, sines), target)
        else:
            layers, vocab = (4, 8192) if options.quick else (30, 49152)
            module = Model(layers, vocab)
            order = torch.arange(windows * length + 1) * 7919 % vocab
            tokens, following = order[:-1].view(windows, length), order[1:]

            def loss_of():
                return F.cross_entropy(module(tokens, cosines, sines).view(-1, vocab), following)

        times = milliseconds(module, loss_of, options.rounds or (9 if what == "block" else 5), options.fused)
        print(f"torch {torch.__version__} {what}: {options.threads} threads, {windows} x {length} tokens, "
              f"least {min(times):.1f}, median {statistics.median(times):.1f}, most {max(times):.1f} ms", flush=True)


if __name__ == "__main__":
    main()
