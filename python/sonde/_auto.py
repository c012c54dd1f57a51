"""SONDE_AUTO=1: logging, crash records and the engines' loggers without a change of code. Imported by sonde_auto.pth at start-up of any
Python; what goes wrong is one line on stderr, and the program runs without."""
import os
import sys


def start() -> None:
    """Once, and only where the variable says so."""
    if os.environ.get("SONDE_AUTO", "").lower() not in ("1", "true", "on", "yes"):
        return
    try:
        from . import crash, logging
        logging.configure_dynamo_logging()
        crash.enable()
    except Exception as e:
        sys.stderr.write(f"SONDE_AUTO: this process runs without sonde: {type(e).__name__}: {e}\n")


start()
