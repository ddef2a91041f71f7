"""What is done when something happens."""


class OnProcessExit:
    """Executes actions when the process of another one has ended."""

    def __init__(self, target_action, on_exit):
        self.target, self.actions = target_action, on_exit

    def handle(self, action, context):
        if action is self.target:
            for then in self.actions:
                then.visit(context)
