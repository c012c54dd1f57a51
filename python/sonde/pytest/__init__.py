"""pytest-sonde: every test keeps its evidence.

Fixtures: managed_process, sonde_server, faults, sonde_dir, free_port. Options: --sonde-dir, --sonde-keep, --sonde-log-level.
"""
from .faults import Faults
from .process import ManagedProcess, ProcessDied, ProcessNotReady
from .server import SondeServer

__all__ = ["Faults", "ManagedProcess", "ProcessDied", "ProcessNotReady", "SondeServer"]
