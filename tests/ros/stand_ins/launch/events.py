"""What actions and handlers are told of."""


class Shutdown:
    """The end of all that was started."""

    def __init__(self, reason='reason not given'):
        self.reason = reason
