"""Things that a description does."""

import time


class Action:
    """Is executed where its condition holds; what it returns is executed next."""

    def __init__(self, condition=None):
        self.condition = condition

    def visit(self, context):
        if self.condition is None or self.condition.evaluate(context):
            for entity in self.execute(context) or []:
                entity.visit(context)


class DeclareLaunchArgument(Action):
    """An argument: what was given for it, else its default."""

    def __init__(self, name, default_value=None, description='', **kwargs):
        super().__init__(**kwargs)
        self.name, self.default_value, self.description = name, default_value, description

    def execute(self, context):
        if self.name in context.launch_configurations:
            return
        if self.default_value is None:
            raise RuntimeError(f"argument '{self.name}' was not given and has no default")
        context.launch_configurations[self.name] = context.perform(self.default_value)


class LogInfo(Action):
    def __init__(self, msg, **kwargs):
        super().__init__(**kwargs)
        self.msg = msg

    def execute(self, context):
        print(context.perform(self.msg), flush=True)


class GroupAction(Action):
    """Actions whose configurations are their own."""

    def __init__(self, actions, **kwargs):
        super().__init__(**kwargs)
        self.actions = actions

    def execute(self, context):
        outside = dict(context.launch_configurations)
        for action in self.actions:
            action.visit(context)
        context.launch_configurations = outside


class OpaqueFunction(Action):
    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def execute(self, context):
        return self.function(context)


class IncludeLaunchDescription(Action):
    def __init__(self, launch_description_source, launch_arguments=(), **kwargs):
        super().__init__(**kwargs)
        self.source, self.arguments = launch_description_source, list(launch_arguments)

    def execute(self, context):
        for name, value in self.arguments:
            context.launch_configurations[name] = context.perform(value)
        return [self.source.load(context)]


class ExecuteProcess(Action):
    def __init__(self, cmd, output='log', name='process', **kwargs):
        super().__init__(**kwargs)
        self.cmd, self.name = cmd, name

    def command(self, context):
        return [context.perform(part) for part in self.cmd]

    def execute(self, context):
        context.service.start(self, self.command(context))


class TimerAction(Action):
    """Actions after a while."""

    def __init__(self, period, actions, **kwargs):
        super().__init__(**kwargs)
        self.period, self.actions = period, actions

    def execute(self, context):
        def fire():
            for action in self.actions:
                action.visit(context)

        context.service.timers.append((time.monotonic() + self.period, fire))


class RegisterEventHandler(Action):
    def __init__(self, event_handler, **kwargs):
        super().__init__(**kwargs)
        self.handler = event_handler

    def execute(self, context):
        context.service.handlers.append(self.handler)


class EmitEvent(Action):
    def __init__(self, event, **kwargs):
        super().__init__(**kwargs)
        self.event = event

    def execute(self, context):
        context.service.shutdown(self.event.reason)
