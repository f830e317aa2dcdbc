"""Import every module of the packages named, as a user's program would. Run inside an environment, by nox."""

import importlib
import pkgutil
import sys


def import_all(name: str) -> list[str]:
    """Import `name` and everything inside it, and look up all that they promise; return the names of the modules."""
    package = importlib.import_module(name)
    inside = [module.name for module in pkgutil.walk_packages(package.__path__, f"{name}.")]
    for module in [name, *inside]:
        found = importlib.import_module(module)
        for public in getattr(found, "__all__", ()):
            getattr(found, public)  # a lazy package finds out only now whether the name exists
    return [name, *inside]


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(f"{name}: {len(import_all(name))} modules imported")
