"""What our launch files use of `launch`, for machines that have none: PyPI and Debian do not carry it.

Only what is used is here, under the real names and with the real meaning: substitutions are performed when an
action is executed, groups keep their configurations to themselves, arguments that were not given take their
defaults, and what was started ends with the service. The real package is preferred wherever it is installed.
"""

import signal
import subprocess
import time


class LaunchContext:
    """What is known while a description is executed."""

    def __init__(self, service=None):
        self.launch_configurations = {}
        self.service = service

    def perform(self, value):
        """The text of a substitution, of a text, or of a list of both."""
        if isinstance(value, (list, tuple)):
            return ''.join(self.perform(part) for part in value)
        return value.perform(self) if hasattr(value, 'perform') else str(value)


class LaunchDescription:
    """A list of things to do."""

    def __init__(self, entities=()):
        self.entities = list(entities)

    def visit(self, context):
        for entity in self.entities:
            entity.visit(context)


class LaunchService:
    """Executes a description, and stays until all that it has started has ended."""

    POLL_SECS = 0.02
    PATIENCE_SECS = 10.0

    def __init__(self, argv=None):
        self.description = LaunchDescription()
        self.timers, self.processes, self.handlers = [], [], []
        self.is_ending = self.is_interrupted = False

    def include_launch_description(self, description):
        self.description.entities.append(description)

    def run(self):
        context = LaunchContext(self)
        signal.signal(signal.SIGINT, lambda *_: setattr(self, 'is_interrupted', True))
        try:
            self.description.visit(context)
            while self.processes or (self.timers and not self.is_ending):
                if self.is_interrupted:
                    self.shutdown('SIGINT')
                self.fire_timers()
                self.look_after_processes(context)
                time.sleep(self.POLL_SECS)
            return 0
        finally:
            for _, process in self.processes:
                process.kill()

    def start(self, action, command):
        print(f'[{action.name}] {" ".join(command)}', flush=True)
        self.processes.append((action, subprocess.Popen(command)))

    def fire_timers(self):
        due = [timer for timer in self.timers if timer[0] <= time.monotonic() and not self.is_ending]
        self.timers = [timer for timer in self.timers if timer not in due]
        for _, fire in due:
            fire()

    def look_after_processes(self, context):
        for entry in [entry for entry in self.processes if entry[1].poll() is not None]:
            self.processes.remove(entry)
            for handler in self.handlers:
                if not self.is_ending:
                    handler.handle(entry[0], context)

    def shutdown(self, reason):
        if self.is_ending:
            return
        print(f'shutting down: {reason}', flush=True)
        self.is_ending = True
        for _, process in self.processes:
            process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + self.PATIENCE_SECS
        for _, process in self.processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
