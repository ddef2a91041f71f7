"""Where descriptions come from."""

import importlib.util


class PythonLaunchDescriptionSource:
    """A Python file with `generate_launch_description`."""

    def __init__(self, path):
        self.path = path

    def load(self, context):
        spec = importlib.util.spec_from_file_location('included_launch_file', context.perform(self.path))
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.generate_launch_description()
