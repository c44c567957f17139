"""Usage: conformance.py INDEX --suite VERSION [--docs PAGE]

The verdict on a run of the Autobahn test suite: prints a table by section, names what was not passed, writes the
page of the documentation. Exit 1 when a case was not passed, or a section is missing.
"""

import argparse
import collections
import datetime
import json
import sys

SECTIONS = {
    1: "Framing", 2: "Pings and pongs", 3: "Reserved bits", 4: "Opcodes", 5: "Fragmentation",
    6: "UTF-8", 7: "Closing handshake", 9: "Limits and performance", 10: "Automatic fragmentation",
    12: "Compression: messages", 13: "Compression: parameters",
}
# How many cases each section of suite 0.8.2 has: a run that was cut short is no run that passed.
CASES = {1: 16, 2: 11, 3: 7, 4: 10, 5: 20, 6: 145, 7: 37, 9: 54, 10: 1, 12: 90, 13: 126}
PASSED = ("OK", "NON-STRICT", "INFORMATIONAL")
# Cases whose only offer of compression is declined, which the suite calls so: they want a window of 512 bytes.
DECLINED, DECLINING = "UNIMPLEMENTED", ("13.3.", "13.5.")

PAGE = """# Conformance

The [Autobahn test suite](https://github.com/crossbario/autobahn-testsuite) {suite} is a WebSocket client that checks
every rule of RFC 6455 and breaks most of them. `scripts/conformance` runs it against an echo server
(`Tests/EchoServer`) that consists of the gateway's own frame decoder, encoder, HTTP head and event loop, with the
limit of a message raised to 16 MiB, and with its compression. The gateway itself never echoes what a client sends, so
the suite would have nothing to compare. There is one more difference: the echo server answers every Ping, as section 2
of the suite requires; the gateway answers the latest of those that one read brings (RFC 6455 section 5.5.3).

{table}
Last run: {date}, {total} cases, {verdict}.

```sh
scripts/conformance             # installs the suite (minutes), runs it (ten minutes), writes this page
```

A case passes if its result is OK, NON-STRICT (the rule leaves a choice, and the suite prefers the other one) or
INFORMATIONAL, for the messages as well as for the closing handshake. Section 8 does not exist, section 11 is not
about the protocol.

Declined are 13.3 and 13.5: there the client takes compressed messages only with a window of 512 bytes
(`server_max_window_bits=9`). A node compresses each notice once for all its clients, with a window of 4 KiB, so it declines
such an offer, as RFC 7692 section 7.1.2.1 has it, and the connection goes on without compression.

The suite needs Python 2.7 (`pyenv install 2.7.18`, or its path in `ROOMCAST_PYTHON2`). Few machines still have that,
so this is not a part of `scripts/test`, which covers the same ground with tests of its own:
`Tests/WebSocketTests/FrameDecoderTests.swift`, `Tests/EndToEndTests/ProtocolTests.swift` and
`Tests/EndToEndTests/ProtocolViolationTests.swift`.
"""


def section(case):
    return int(case.split(".")[0])


def results(index):
    """By section how often each result came, and what was not passed."""
    cases = json.load(open(index)).get("roomcast", {})
    counts = collections.defaultdict(collections.Counter)
    bad = []
    for case, result in sorted(cases.items(), key=lambda item: [int(part) for part in item[0].split(".")]):
        counts[section(case)][result["behavior"]] += 1
        if result["behavior"] == DECLINED and case.startswith(DECLINING):
            continue
        if result["behavior"] not in PASSED or result["behaviorClose"] not in PASSED:
            bad.append(f"{case}: {result['behavior']}, close {result['behaviorClose']}")
    for number, expected in CASES.items():
        ran = sum(counts[number].values())
        if ran != expected:
            bad.append(f"section {number}: {ran} of {expected} cases were run")
    return counts, bad


def table(counts):
    lines = ["| section | cases | OK | NON-STRICT | INFORMATIONAL | declined | not passed |", "|---|---|---|---|---|---|---|"]
    for number, name in SECTIONS.items():
        passed = [counts[number][result] for result in (*PASSED, DECLINED)]
        total = sum(counts[number].values())
        cells = [f"{number} {name}", total, *passed, total - sum(passed)]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("index")
    parser.add_argument("--suite", required=True)
    parser.add_argument("--docs")
    options = parser.parse_args()
    counts, bad = results(options.index)
    print(table(counts))
    for line in bad:
        print(f"NOT PASSED {line}")
    if options.docs:
        verdict = f"{len(bad)} problems" if bad else "all of them passed or were declined"
        with open(options.docs, "w") as page:
            page.write(PAGE.format(
                suite=options.suite, table=table(counts), date=datetime.date.today().isoformat(), verdict=verdict,
                total=sum(map(sum, (c.values() for c in counts.values())))))
    sys.exit(1 if bad else 0)


main()
