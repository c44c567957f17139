"""Usage: tidy.py BINARIES

What a reader relies on and no test of the programs shows: form, modules, lengths of files, options, links. Prints each
finding on a line and exits 1 when there is one. Started by scripts/tidy.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# From the ground up: a module depends on those of lower layers only.
LAYERS = [
    ["CLibevent", "CHiredis", "CIoUring", "COpenSSL", "CZlib"], ["Bytes", "System"], ["EventLoop", "Network", "HTTP", "JSON"],
    ["WebSocket"], ["Redis"], ["RedisSchema"], ["Options", "ConsolePage"], ["RedisOptions"],
    ["Gateway", "Publisher", "LoadTest"],
]
# One module each knows a C library.
OWNERS = {
    "CLibevent": "EventLoop", "CIoUring": "EventLoop", "CHiredis": "Redis", "COpenSSL": "Redis", "CZlib": "WebSocket",
}
# Of Foundation, which is large and slow: FoundationEssentials where JSON is decoded, and tests may have all of it.
FOUNDATION = {"LoadTest"}
# The files that choose what a package trait brings: nothing else may depend on it (scripts/tidy checks that these do
# without it).
TRAITS = {
    "TLS": {"Sources/Redis/TLS/TLSContext.swift", "Sources/Redis/TLS/TLSStream.swift"},
    "Compression": {"Sources/WebSocket/ZlibStream.swift"},
}
MAXIMUM_LINES = 500
# Of a comment; swift format sees to the code.
MAXIMUM_COLUMNS = 120
# Longer files, and why.
LONG_FILES = {}
# Where the options of a program are described.
REFERENCES = {"gateway": "docs/REFERENCE.md", "publisher": "docs/REFERENCE.md", "loadtest": "docs/LOADTEST.md"}
# What every program has is described once for all of them.
COMMON_OPTIONS = {"--help", "--version", "--completions"}
# A page that is made into another place.
TEMPLATES = {"scripts/lib/bench/page.md"}


def run(*command):
    return subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=False)


def files(*patterns):
    return [Path(line) for line in run("git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns)
            .stdout.splitlines() if (ROOT / line).exists()]


def form():
    """Swift files are as `swift format` would have them (.swift-format)."""
    done = run("swift", "format", "lint", "--strict", "--parallel", *files("*.swift"))
    lines = (done.stdout + done.stderr).replace(f"{ROOT}/", "").splitlines()
    yield from lines
    if lines:
        yield "swift format --in-place FILE mends these"


def modules():
    """Modules depend on lower layers only, and import only what Package.swift declares for them."""
    dumped = run("swift", "package", "--ignore-lock", "dump-package")
    targets = {target["name"]: target for target in json.loads(dumped.stdout)["targets"] if target["type"] != "test"}
    layer = {name: number for number, names in enumerate(LAYERS) for name in names}
    for name, target in targets.items():
        declared = {next(iter(dependency.values()))[0] for dependency in target["dependencies"]}
        directory = target.get("path") or f"Sources/{name}"
        is_product = directory.startswith("Sources/")
        if is_product and name not in layer:
            yield f"Package.swift: {name} has no layer (scripts/lib/tidy.py, LAYERS)"
            continue
        for other in sorted(declared):
            if is_product and layer[other] >= layer[name]:
                yield f"Package.swift: {name} depends on {other}, which is no lower layer"
            if OWNERS.get(other, name) != name:
                yield f"Package.swift: {name} depends on {other}, which is {OWNERS[other]}'s alone"
        for path in files(f"{directory}/*.swift"):
            for number, line in enumerate((ROOT / path).read_text().splitlines(), 1):
                match = re.match(r"\s*(?:@\w+ |public |package |internal )*import (?:\w+ )?(\w+)", line)
                if not match:
                    continue
                other = match[1]
                if other in targets and other not in declared:
                    yield f"{path}:{number}: {name} imports {other} without depending on it (Package.swift)"
                if is_product and other.startswith("Foundation") and name not in FOUNDATION:
                    yield f"{path}:{number}: {name} imports {other}"
                elif is_product and other == "Foundation":
                    yield f"{path}:{number}: FoundationEssentials is enough, and has no ICU"


def traits():
    """A few files depend on a package trait."""
    for path in files("Sources/*.swift"):
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1):
            for trait, owners in TRAITS.items():
                if re.match(rf"\s*#(?:else)?if .*\b{trait}\b", line) and str(path) not in owners:
                    yield f"{path}:{number}: only {', '.join(sorted(owners))} may ask for the trait {trait}"


def lengths():
    """A file that is longer than this holds more than one thing."""
    for path in files("*.swift"):
        lines = (ROOT / path).read_text().splitlines()
        count = len(lines)
        for number, line in enumerate(lines, 1):
            if line.lstrip().startswith("//") and len(line) > MAXIMUM_COLUMNS:
                yield f"{path}:{number}: a comment of {len(line)} columns, {MAXIMUM_COLUMNS} at most"
        if count > LONG_FILES.get(str(path), MAXIMUM_LINES):
            yield f"{path}: {count} lines, {LONG_FILES.get(str(path), MAXIMUM_LINES)} at most"


def help_options(command):
    return set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", run(*command, "--help").stdout, re.M))


def options(binaries):
    """Each option that a program declares is in its help; each of its help in the reference. (scripts/tidy looks into
    the manual pages.)"""
    for program, reference in REFERENCES.items():
        binary = binaries / program
        usage = run(binary, "--help").stdout
        words = set(re.findall(rf"^(?:Usage:|      ) {program} ([a-z]+) ", usage, re.M))
        shown = help_options([binary]).union(*(help_options([binary, word]) for word in words))
        # Completions are made of the declarations themselves.
        script = re.sub(r"^ *#.*", "", run(binary, "--completions", "bash").stdout, flags=re.M)
        completed = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", script))
        if not shown or not completed:
            yield f"{binary}: no options in its --help or --completions"
        for option in sorted(completed - shown):
            yield f"{program} --help does not show {option}"
        described = set(re.findall(r"--[a-z][a-z-]*", (ROOT / reference).read_text()))
        for option in sorted(shown - described - COMMON_OPTIONS):
            yield f"{reference}: {program}'s {option} is not in it"


def without_code(text):
    text = re.sub(r"^(?P<fence> *(?:```+|~~~+)).*?^(?P=fence)", "", text, flags=re.M | re.S)
    return re.sub(r"(`+).+?\1", "", text)


def anchors(path):
    """As GitHub makes them of headings."""
    found = set()
    text = re.sub(r"^ *(```|~~~).*?^ *\1", "", path.read_text(), flags=re.M | re.S)
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", text, re.M):
        heading = re.sub(r"!?\[([^]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = 0
        while (anchor if number == 0 else f"{anchor}-{number}") in found:
            number += 1
        found.add(anchor if number == 0 else f"{anchor}-{number}")
    return found | set(re.findall(r"""(?:id|name)=["']([^"']+)""", text))


def links():
    """Links between documents lead to files that are there, and to headings that are in them."""
    for path in files("*.md"):
        if str(path) in TEMPLATES:
            continue
        text = without_code((ROOT / path).read_text())
        targets = re.findall(r"\]\(<?([^()\s>]+(?:\([^()\s]*\))?)>?(?: +\"[^\"]*\")?\)", text)
        targets += re.findall(r"^\[[^\]]+\]: +(\S+)", text, re.M)
        targets += re.findall(r"""(?:href|src|srcset)=["']([^"'\s]+)""", text)
        for target in targets:
            if re.match(r"[a-z][a-z0-9+.-]*:|//", target):
                continue
            name, _, anchor = target.partition("#")
            place = (ROOT / path).parent / name if name else ROOT / path
            if not place.exists():
                yield f"{path}: no file {target}"
            elif anchor and place.suffix == ".md" and anchor not in anchors(place):
                yield f"{path}: no heading {target}"


def main():
    findings = [finding for rule in (form, modules, traits, lengths, lambda: options(Path(sys.argv[1])), links)
                for finding in rule()]
    print("\n".join(findings), end="\n" if findings else "")
    return 1 if findings else 0


sys.exit(main())
