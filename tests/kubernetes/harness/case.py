"""Cases: functions of one argument, whose docstring's first line is the name that gets printed."""

MODES = ("api", "static", "node")
LIMIT = 900  # seconds after which a case counts as hung


class Case:
    def __init__(self, function, mode, label, arguments, alone):
        self.function, self.mode, self.arguments, self.alone = function, mode, arguments, alone
        self.file = function.__module__.rsplit(".", 1)[-1]
        self.name = function.__name__ + (f"[{label}]" if label else "")
        self.title = (function.__doc__ or function.__name__).strip().splitlines()[0]


registry = []


def case(mode="node", each=None, alone=False):
    """Makes a function a case of that size of cluster, once per row of `each`, {label: argument, …}.

    It gets a Space of its own, in `static` the Cluster. alone: no other case beside it,
    since it measures time or harms the node."""
    def register(function):
        for label, arguments in [("", ())] if each is None else [(label, (argument,)) for label, argument in each.items()]:
            registry.append(Case(function, mode, label, arguments, alone))
        return function
    return register
