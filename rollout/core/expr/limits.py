"""How much an expression may use. Generous for a condition, nothing for an attack."""

MAX_SOURCE = 4096  # characters
MAX_NESTING = 60  # of brackets and of operators that bind to the right
MAX_DEPTH = 100  # of the syntax tree
MAX_STEPS = 50_000  # nodes evaluated and elements touched
MAX_ITEMS = 10_000  # of one array or map
MAX_STRING = 65_536  # characters
MIN_INT, MAX_INT = -(2**63), 2**63 - 1
MAX_SEARCHED = 1_000  # characters of the text that a regular expression looks at
