"""The systems of the benchmark, each a spaCy pipeline and how it is asked: see configs/systems/."""

from .system import Predict, System, load_system, load_systems

__all__ = ["Predict", "System", "load_system", "load_systems"]
