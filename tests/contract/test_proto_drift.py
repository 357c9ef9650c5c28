"""The .proto files keep buf's rules, and the committed Python code is what they say."""

import subprocess
import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).parents[2]


def test_the_generated_code_is_up_to_date(tmp_path: Path) -> None:
    sources = sorted(str(path) for path in (ROOT / "proto").rglob("*.proto"))
    well_known = files("grpc_tools").joinpath("_proto")
    arguments = [f"-I{ROOT / 'proto'}", f"-I{well_known}", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    assert protoc.main(["protoc", *arguments, *sources]) == 0
    generated = {path.name: path.read_text() for path in (tmp_path / "ra_guard" / "v1").iterdir()}
    committed = {path.name: path.read_text() for path in (ROOT / "server" / "ra_guard" / "v1").glob("*_pb2.py*")}
    assert committed == generated, "run `make proto` and commit the result"


def test_the_wire_keeps_the_rules_of_its_linter() -> None:
    buf = Path(sys.executable).parent / "buf"
    done = subprocess.run([buf, "lint", ROOT / "proto"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
