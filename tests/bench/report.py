"""Samples → medians, ratios, one table, JSON."""
import statistics

WIDE, LABEL, RATIO = 23, 40, 9


def add(samples, figures):
    """Puts one round's figures into {column: {metric: [value, …]}}."""
    for column, metrics in figures.items():
        for metric, value in metrics.items():
            samples.setdefault(column, {}).setdefault(metric, []).extend(value if isinstance(value, list) else [value])


def ratio(samples, metric, column, against):
    """Median of the ratios within a round, or None: what changes between rounds then falls out."""
    ours, theirs = (samples.get(name, {}).get(metric, []) for name in (column, against))
    pairs = [our / their for our, their in zip(ours, theirs) if their]
    return statistics.median(pairs) if pairs else None


def cell(values, digits):
    if not values:
        return "–"
    text = f"{statistics.median(values):,.{digits}f}"
    low, high = (f"{value:,.{digits}f}" for value in (min(values), max(values)))
    return text if low == high else f"{text} ({low}–{high})"


def block(case, samples):
    """A case's lines of the table."""
    subject = case.columns[-1]
    lines = ["", case.title,
             " " * LABEL + "".join(f"{name:>{WIDE}}" for name in case.columns)
             + "".join(f"{'/' + name:>{RATIO}}" for name in case.against)]
    for metric, label, digits in case.rows:
        line = f"  {label:<{LABEL - 2}}"
        for column in case.columns:
            line += f"{cell(samples.get(column, {}).get(metric), digits):>{WIDE}}"
        for against in case.against:
            value = ratio(samples, metric, subject, against)
            line += f"{'–' if value is None else f'{value:.2f}':>{RATIO}}"
        lines.append(line)
    return lines + ["  * " + note for note in (case.notes(samples) if case.notes else [])]


def as_json(case, samples):
    subject = case.columns[-1]
    return {
        "title": case.title,
        "labels": {metric: label for metric, label, _ in case.rows},
        "ratios": {against: {metric: ratio(samples, metric, subject, against) for metric, _, _ in case.rows}
                   for against in case.against},
        "columns": {column: {metric: {"median": statistics.median(values), "min": min(values), "max": max(values), "values": values}
                             for metric, values in metrics.items()} for column, metrics in samples.items()},
        "notes": case.notes(samples) if case.notes else [],
    }
