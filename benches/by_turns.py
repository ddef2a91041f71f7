"""What the comparisons with PyTorch share: a Python that has it, and an example that waits for commands."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
ENVIRONMENT = REPOSITORY / "target" / "compare-pytorch"


def with_torch():
    """Goes on in a Python that has torch."""
    try:
        import safetensors.torch  # noqa: F401
        import torch  # noqa: F401
    except ImportError:
        python = ENVIRONMENT / "bin" / "python"
        if Path(sys.prefix) == ENVIRONMENT:
            sys.exit(f"{ENVIRONMENT} has no torch: remove the folder and try again")
        if not (ENVIRONMENT / "ready").exists():
            subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
            packages = ["torch", "numpy", "safetensors"]
            subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
            (ENVIRONMENT / "ready").touch()
        os.execv(python, [str(python), *sys.argv])


def built(example):
    """The path of an example, once cargo has built it."""
    subprocess.run(["cargo", "build", "--release", "--example", example], cwd=REPOSITORY, check=True)
    return REPOSITORY / "target" / "release" / "examples" / example


class Ours:
    """An example, waiting for commands."""

    def __init__(self, program, arguments, threads):
        self.process = subprocess.Popen(
            [program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ, RAYON_NUM_THREADS=str(threads)),
        )
        self.expect("ready")

    def expect(self, start=""):
        line = self.process.stdout.readline()
        if not line.startswith(start) or not line:
            sys.exit(f"{self.process.args[0]} said '{line.strip()}'")
        return line.split()

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.expect()

    def processor_seconds(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def check_outputs(ours, expected):
    """Both sides are the same network: their outputs agree to 1e-3 of their magnitude."""
    from safetensors.torch import load_file

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "outputs.safetensors"
        ours.ask(f"save {file}")
        found = load_file(file)
    ours.close()
    for name, values in sorted(expected.items()):
        difference = (found[name] - values).abs().max() / values.abs().max()
        print(f"check: {name} {tuple(values.shape)} differs by {difference:.1e} of its magnitude")
        if not difference < 1e-3:
            sys.exit("the two sides do not compute the same")
