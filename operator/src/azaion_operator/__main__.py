"""`python -m azaion_operator`: run the operator until SIGTERM."""

import logging
import os
import sys

from azaion_jobs import logs
from azaion_operator import app
from azaion_operator.errors import OperatorError
from azaion_operator.settings import Settings


def main() -> int:
    """Return the exit code: 0 after a requested stop, 2 if the operator could not start."""
    logs.configure(service="operator")
    try:
        settings = Settings.from_environment(os.environ, default_namespace=app.namespace_of_pod())
        logs.set_level(settings.log_level)
        app.run(settings)
    except OperatorError as error:
        logging.getLogger(__name__).critical("%s", error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
