"""Samples → medians, ratios, tables in Markdown. `report.py BENCH.JSON PAGE` writes what was measured into the page: the cases of HTTP/2 at
their place, all others at theirs. Where none of a kind was measured, what the page has of them stays."""
import json
import os
import re
import statistics
import sys

# A proxy that used less of its CPU than this was not the limit of its requests a second.
FULL = 0.93


def add(samples, figures):
    """Puts one round's figures into {column: {metric: [value, …]}}."""
    for column, metrics in figures.items():
        for metric, value in metrics.items():
            samples.setdefault(column, {}).setdefault(metric, []).extend(value if isinstance(value, list) else [value])


def ratio(ours, theirs):
    """Median of the ratios within a round, or None: what changes between rounds then falls out."""
    pairs = [our / their for our, their in zip(ours, theirs) if their]
    return statistics.median(pairs) if pairs else None


def cell(values, digits):
    if not values:
        return "–"
    text = f"{statistics.median(values):,.{digits}f}"
    low, high = (f"{value:,.{digits}f}" for value in (min(values), max(values)))
    return text if low == high else f"{text} ({low}–{high})"


def table(rows):
    """Lines of a table, the first row its head, padded to be read as it is."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["| " + " | ".join(text.rjust(width) if column else text.ljust(width)
                               for column, (text, width) in enumerate(zip(row, widths))) + " |" for row in rows]
    rule = "|" + "|".join("-" * (width + 1) + (":" if column else "-") for column, width in enumerate(widths)) + "|"
    return [lines[0], rule, *lines[1:]]


def limits(samples):
    """Where something else than the proxy was the limit."""
    said = {}
    for name, metrics in samples.items():
        load, proxy = (statistics.median(metrics[metric]) for metric in ("load_share", "proxy_share"))
        if proxy < FULL:
            what = "The load generator, not the proxy, was the limit for" if load >= FULL else "No CPU was full for"
            said.setdefault(what, []).append(f"{name} (load and app {load:.0%}, proxy {proxy:.0%})" if proxy else f"{name} ({load:.0%})")
    return [f"{what} {', '.join(names)}." for what, names in said.items()]


def case_lines(case):
    samples, rows = case["samples"], [row for row in case["rows"] if any(row[0] in metrics for metrics in case["samples"].values())]
    subject = list(samples)[-1]
    lines = [[case["name"], *(label for _, label, _ in rows)]]
    for column, metrics in samples.items():
        lines.append([column, *(cell(metrics.get(metric), digits) for metric, _, digits in rows)])
    for against in case["against"]:
        values = [ratio(samples[subject].get(metric, []), samples[against].get(metric, [])) for metric, _, _ in rows]
        lines.append([f"{subject} / {against}", *("–" if value is None else f"{value:.2f}" for value in values)])
    notes = limits(samples) if case["limits"] else []
    return [f"### {case['name']}: {case['title']}", "", *table(lines), *([""] + notes if notes else []), ""]


def bar_lines(bars):
    rows = [["bar", "measured", ""]]
    for bar in bars:
        measured = f"{bar['measured']:,.2f}" + (f" × {bar['of']}" if bar["of"] else "")
        rows.append([f"{bar['case']}: {bar['bar']}", measured, "met" if bar["met"] else "NOT MET"])
    met = sum(bar["met"] for bar in bars)
    return [f"### bars: {met} met, {len(bars) - met} not met", "", *table(rows), ""] if bars else []


def render(document):
    """The whole page of a run."""
    machine = document["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    lines = [f"{machine['cpu']}, {machine['cpus']} CPUs, Linux {machine['kernel']}, {machine['date']}; {versions}; "
             f"{document['rounds']} rounds in {document['seconds']:.0f} s.",
             "Median (least–most); the ratios are the medians of those within each round.", ""]
    if document["disturbed_runs"]:
        lines[2:2] = [f"{document['disturbed_runs']} of {document['runs']} runs were disturbed: others used more than 5 % of a CPU."]
    for case in document["cases"]:
        lines += case_lines(case)
    return "\n".join(lines + bar_lines(document["bars"]))


def parts(document):
    """The run as one of HTTP/2 and one of the rest, by their marks in the page; a part of which nothing was measured is none."""
    def of_http2(name):
        return name.startswith("streams_")
    for mark, belongs in (("", lambda name: not of_http2(name)), (" HTTP/2", of_http2)):
        cases = [case for case in document["cases"] if belongs(case["name"])]
        if cases:
            yield mark, {**document, "cases": cases, "bars": [bar for bar in document["bars"] if belongs(bar["case"])]}


def place(page, mark, text):
    """The page with that between its marks; None: it has no such place."""
    after, count = re.subn(rf"(<!-- measured{mark} -->\n).*?(<!-- end{mark} -->)", lambda found: f"{found[1]}{text}\n{found[2]}", page, flags=re.S)
    return after if count == 1 else None


def main():
    source, page = sys.argv[1:]
    with open(source) as file:
        document = json.load(file)
    with open(page) as file:
        after = file.read()
    for mark, part in parts(document):
        after = place(after, mark, render(part))
        if after is None:
            sys.exit(f"{page}: no one place <!-- measured{mark} --> … <!-- end{mark} -->")
    with open(page + ".new", "w") as file:
        file.write(after)
    os.replace(page + ".new", page)


if __name__ == "__main__":
    main()
