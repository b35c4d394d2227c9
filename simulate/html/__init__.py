"""Result files as one page that people forward: self-contained, interactive, the same each time.

In: directories that ``simulate -o`` wrote. Out: one HTML page that asks nothing of any network.
"""

from simulate.html.page import write_page
from simulate.html.result import Result, read_result

__all__ = ["Result", "read_result", "write_page"]
