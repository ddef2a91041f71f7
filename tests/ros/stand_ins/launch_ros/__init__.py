"""What our launch files use of `launch_ros`; see the stand-in of `launch`."""
