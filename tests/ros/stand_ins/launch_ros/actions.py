"""Nodes and their namespaces."""

import os
import tempfile

import yaml
from ament_index_python.packages import get_package_prefix
from launch.actions import Action, ExecuteProcess

NAMESPACE = 'ros_namespace'


class PushRosNamespace(Action):
    """All nodes of this group that follow are in a namespace."""

    def __init__(self, namespace, **kwargs):
        super().__init__(**kwargs)
        self.namespace = namespace

    def execute(self, context):
        outer = context.launch_configurations.get(NAMESPACE, '')
        pushed = context.perform(self.namespace)
        joined = pushed if pushed.startswith('/') else f'{outer}/{pushed}'
        context.launch_configurations[NAMESPACE] = joined.rstrip('/')


class Node(ExecuteProcess):
    """A node: an executable of a package, with the arguments that ROS 2 understands."""

    def __init__(self, package, executable, name, parameters=(), remappings=(), arguments=(), **kwargs):
        super().__init__(cmd=[], name=name, **kwargs)
        self.package, self.executable = package, executable
        self.parameters, self.remappings, self.arguments = parameters, remappings, arguments

    def command(self, context):
        program = os.path.join(get_package_prefix(self.package), 'lib', self.package, self.executable)
        command = [program] + [context.perform(argument) for argument in self.arguments]
        command += ['--ros-args', '-r', f'__node:={self.name}']
        namespace = context.launch_configurations.get(NAMESPACE)
        command += ['-r', f'__ns:={namespace}'] if namespace else []
        for parameters in self.parameters:
            command += ['--params-file', file_of(parameters, context)]
        for name, topic in self.remappings:
            command += ['-r', f'{context.perform(name)}:={context.perform(topic)}']
        return command


def file_of(parameters, context):
    """The file of parameters that are given as a file or as a dictionary."""
    if not isinstance(parameters, dict):
        return context.perform(parameters)
    with tempfile.NamedTemporaryFile('w', prefix='launch_params_', suffix='.yaml', delete=False) as file:
        yaml.safe_dump({'/**': {'ros__parameters': parameters}}, file)
    return file.name
