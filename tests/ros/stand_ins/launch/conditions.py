"""Whether an action is executed."""


class IfCondition:
    """Where a text says true."""

    def __init__(self, predicate_expression):
        self.predicate = predicate_expression

    def evaluate(self, context):
        text = context.perform(self.predicate).strip().lower()
        if text not in ('true', 'false', '1', '0'):
            raise ValueError(f"'{text}' is neither true nor false")
        return text in ('true', '1')
