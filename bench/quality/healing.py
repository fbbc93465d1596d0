#!/usr/bin/env python3
"""Which form of a model heals best: whole models, compressed to equal sizes and healed alike, judged by other texts.

    healing.py FOLDER --model MODEL --train TEXT... --judge TEXT... [--mpo build/bench/examples/mpo] [--budget 0.6]
               [--rows low-rank,ours,unbounded,plain] [--seeds 1] [--only REGEX] [--profile FILE.json]
               [--objective after-healing] [--judge-characters 40000] [--judge-pieces 1] [--windows 200]
               [--blocks-steps 100] [--trial-steps 25] [--distill-steps 60] [--look-every 25] [--threads N] [--table]

Rows, all of the same budget:

    low-rank    mpo compress --form low-rank
    ours        --max-flops-ratio 1 and --objective, healed with low-rank as its --rival, which is compressed where it is
                not there
    unbounded   the same without a bound of multiply-adds
    plain       --form mpo, nothing calibrated: the published method

Each judge is cut to --judge-characters: the first ones, or as many pieces as --judge-pieces, spread evenly. Everything
lies in FOLDER, and what is there is not done again: killed, the same call goes on; rows, seeds and threads aside it must
be the same call, which settings.json remembers. Rows share what the teacher says of the windows. At the end, or at once
with --table, one table of all that is there: perplexity and divergence from the teacher before healing and behind both
stages, and with several seeds the ratio to low rank of the same seed, mean and 95 % interval. Needs Python's own library
alone.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys

STAGES = [("before", "before healing"), ("blocks", "after the block stage"), ("distillation", "after distillation")]
STUDENT_T = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # 97.5 % quantiles, by the number of values

ROWS = {
    "low-rank": ["--form", "low-rank"],
    "ours": ["--max-flops-ratio", "1"],
    "unbounded": [],
    "plain": ["--form", "mpo"],
}
RIVALED = ("ours", "unbounded")  # chains compete


def write(path, text):
    """A file that is there whole or not at all."""
    with open(path + ".part", "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(path + ".part", path)


def cut(path, to, characters, pieces):
    """The first characters of a text, or pieces of it, evenly spread; returns where they are."""
    name = os.path.join(to, f"{pieces}x{characters // pieces}-{os.path.basename(path)}")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    size = characters // pieces
    judged = "\n\n".join(text[k * len(text) // pieces:][:size] for k in range(pieces))
    if not os.path.exists(name):
        write(name, judged)
        return name
    with open(name, encoding="utf-8") as file:
        if file.read() != judged:
            sys.exit(f"healing.py: {name} is not what {path} gives now; another text needs another folder")
    return name


class Table:
    """One folder of rows."""

    def __init__(self, asked):
        self.asked = asked
        self.folder = asked.folder
        os.makedirs(self.folder, exist_ok=True)
        if len({os.path.basename(path) for path in asked.judge}) < len(asked.judge):
            sys.exit("healing.py: two of the judges have the same name")
        self.judges = [cut(path, self.folder, asked.judge_characters, asked.judge_pieces) for path in asked.judge]
        self.require_same_settings()

    def require_same_settings(self):
        """Rows of one table differ in their form and their seed alone."""
        settings = {key: value for key, value in vars(self.asked).items()
                    if key not in ("folder", "mpo", "rows", "seeds", "threads", "table")}
        path = self.path("settings", "json")
        if not os.path.exists(path):
            return write(path, json.dumps(settings, indent=1) + "\n")
        with open(path, encoding="utf-8") as file:
            kept = json.load(file)
        for key, value in settings.items():
            if kept.get(key) != value:
                sys.exit(f"healing.py: the rows of {self.folder} have {key} {kept.get(key)}, asked for is {value}")

    def path(self, *names):
        return os.path.join(self.folder, ".".join(names))

    def run(self, arguments, log):
        threads = ["--threads", str(self.asked.threads)] if self.asked.threads else []
        command = [self.asked.mpo, *arguments, *threads]
        print(" ".join(command), flush=True)
        with open(log, "a", encoding="utf-8") as file:
            file.write(" ".join(command) + "\n")
            file.flush()
            status = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False).returncode
        if status != 0:
            sys.exit(f"healing.py: exit status {status}; the last lines of {log} say why")

    def compress(self, row):
        if os.path.exists(self.path(row)):
            return
        arguments = ["compress", self.asked.model, "-o", self.path(row), "--budget", str(self.asked.budget), *ROWS[row],
                     "--json", self.path(row, "compress", "json")]
        if row != "plain":
            arguments += [word for text in self.asked.train for word in ("--calibrate", text)] + ["--resume"]
            if self.asked.profile:
                arguments += ["--profile", self.asked.profile]
        if row in RIVALED:
            arguments += ["--objective", self.asked.objective]
        if self.asked.only:
            arguments += ["--only", self.asked.only]
        self.run(arguments, self.path(row, "compress", "log"))

    def share_teacher(self, work):
        """Complete caches of other rows: files never change, so that links do."""
        for other in sorted(os.listdir(self.folder)):
            source = os.path.join(self.folder, other)
            marker, last = os.path.join(source, "heal_work.json"), os.path.join(source, "teacher_held_out", "index.json")
            if not other.endswith(".work") or source == work or not os.path.exists(marker) or not os.path.exists(last):
                continue
            if not os.path.exists(os.path.join(work, "heal_work.json")):  # without it a folder with files is nobody's
                with open(marker, encoding="utf-8") as file:
                    write(os.path.join(work, "heal_work.json"), file.read())
            for name in ("teacher", "teacher_held_out"):
                to = os.path.join(work, name)
                if os.path.exists(to):
                    continue
                shutil.rmtree(to + ".part", ignore_errors=True)
                shutil.copytree(os.path.join(source, name), to + ".part", copy_function=os.link)
                os.rename(to + ".part", to)
            return

    def heal(self, row, seed):
        name, asked = f"{row}.{seed}", self.asked
        if os.path.exists(self.path(name, "json")):
            return
        shutil.rmtree(self.path(name), ignore_errors=True)  # healed, and not judged to the end
        work = self.path(name, "work")
        os.makedirs(work, exist_ok=True)
        self.share_teacher(work)
        arguments = ["heal", self.path(row), "--teacher", asked.model, "-o", self.path(name), "--work", work, "--resume",
                     "--windows", str(asked.windows), "--blocks-steps", str(asked.blocks_steps),
                     "--learning-rate", str(asked.learning_rate), "--distill-steps", str(asked.distill_steps),
                     "--look-every", str(asked.look_every),
                     "--seed", str(seed), "--json", self.path(name, "json")]
        arguments += [word for text in asked.train for word in ("--text", text)]
        arguments += [word for text in self.judges for word in ("--evaluate", text)]
        if row in RIVALED:
            self.compress("low-rank")
            arguments += ["--rival", self.path("low-rank"), "--trial-steps", str(asked.trial_steps)]
        self.run(arguments, self.path(name, "log"))

    def results(self, row):
        """Of every seed that is there: name of the text -> stage -> result."""
        seeds = {}
        for seed in self.asked.seeds:
            path = self.path(f"{row}.{seed}", "json")
            if os.path.exists(path):
                with open(path, encoding="utf-8") as file:
                    judged = json.load(file)["evaluation"]
                seeds[seed] = {os.path.basename(one["text"]): one for one in judged}
        return seeds

    def print(self):
        texts = [os.path.basename(path) for path in self.judges]
        print("\n| row | seed | stage |" + "".join(f" {text}: perplexity | KLD | / low rank |" for text in texts))
        print("|---|---|---|" + "---|---|---|" * len(texts))
        low_rank = self.results("low-rank")
        ratios = {}
        for row in self.asked.rows:
            for seed, result in self.results(row).items():
                for stage, title in STAGES:
                    cells = ""
                    for text in texts:
                        now = result.get(text, {}).get(stage)
                        if now is None:
                            cells += " | | |"
                            continue
                        peer, ratio = low_rank.get(seed, {}).get(text, {}).get(stage), ""
                        if row != "low-rank" and peer is not None:
                            value = now["kld_mean"] / peer["kld_mean"]
                            ratios.setdefault((row, title, text), []).append(value)
                            ratio = f"{value:.3f}"
                        cells += f" {now['perplexity']:.4g} | {now['kld_mean']:.4f} +- {now['kld_error']:.4f} | {ratio} |"
                    if cells.strip(" |"):
                        print(f"| {row} | {seed} | {title} |{cells}")
        for (row, title, text), values in ratios.items():
            if len(values) in STUDENT_T:
                half = STUDENT_T[len(values)] * statistics.stdev(values) / len(values) ** 0.5
                print(f"{row} / low rank, {title}, {text}: {statistics.mean(values):.3f} +- {half:.3f}, {len(values)} seeds")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--model", required=True)
    parser.add_argument("--train", required=True, nargs="+")
    parser.add_argument("--judge", required=True, nargs="+")
    parser.add_argument("--mpo", default="build/bench/examples/mpo")
    parser.add_argument("--budget", type=float, default=0.6)
    parser.add_argument("--rows", type=lambda text: text.split(","), default=list(ROWS))
    parser.add_argument("--seeds", type=lambda text: [int(one) for one in text.split(",")], default=[1])
    parser.add_argument("--only")
    parser.add_argument("--profile")
    parser.add_argument("--objective", default="after-healing", choices=["before-healing", "after-healing"])
    parser.add_argument("--judge-characters", type=int, default=40000)
    parser.add_argument("--judge-pieces", type=int, default=1)
    parser.add_argument("--windows", type=int, default=200)
    parser.add_argument("--blocks-steps", type=int, default=100)
    parser.add_argument("--learning-rate", type=float, default=0.01, help="of the block stage")
    parser.add_argument("--trial-steps", type=int, default=25)
    parser.add_argument("--distill-steps", type=int, default=60)
    parser.add_argument("--look-every", type=int, default=25)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    unknown = [row for row in asked.rows if row not in ROWS]
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}")
    table = Table(asked)
    if not asked.table:
        for row in asked.rows:
            table.compress(row)
        for seed in asked.seeds:
            for row in asked.rows:
                table.heal(row, seed)
    table.print()


if __name__ == "__main__":
    main()
