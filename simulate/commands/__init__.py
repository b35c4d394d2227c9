"""The commands of ``simulate``, one module each; :mod:`simulate.cli` names them."""
