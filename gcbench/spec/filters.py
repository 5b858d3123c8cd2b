"""Which cases a sweep or a report keeps: `--where "channels * height < 2**14 and block != 'nl'"`.

The text is parsed by Python's own `ast`, checked node by node against the few that are allowed, and
turned into functions; nothing is ever evaluated as Python. A condition is checked whole before the
first case is looked at, kinds included: text is not compared with numbers.

    condition   condition and condition | condition or condition | not condition | (condition)
                value == != < <= > >= value, chained | value in (value, ...) | text in text
    value       a column | size | shape | N | a number | 'text'
                value + - * / // % ** value | -value | (value)

A value is missing where a column is (the ratio of a block that has none), where something is
divided by zero, and where arithmetic meets a missing value; a comparison with it is false. `size`
is text (`'50x80'`), and beside numbers the side of a square map, missing where it is none; `shape`
is text (`'1x64x50x80'`), `N` is height * width.
"""

import ast
import operator
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gcbench import columns
from gcbench.errors import UsageError, quoted
from gcbench.registry import suggestion
from gcbench.spec.cases import Case

Values = Mapping[str, Any]
Read = Callable[[Values], Any]

# what is known of a case before it is measured: columns of the CSV, and what they hold
COLUMNS: dict[str, type] = {
    name: column.compared for name, column in columns.COLUMNS.items() if column.of_case
}

# words of options and tables that are no column, and what a row has for them: beside a number the
# size is the side of a square map, and missing where it is none
_MADE: dict[str, tuple[Read, type]] = {
    "size": (lambda row: f"{row['height']}x{row['width']}", str),
    "shape": (lambda row: _shape(row), str),
    "N": (lambda row: row["height"] * row["width"], int),
}


def _shape(row: Values) -> str:
    return "x".join(str(row[side]) for side in ("batch", "channels", "height", "width"))


def _side_of_square(row: Values) -> int | None:
    height: int = row["height"]
    return height if height == row["width"] else None


LONGEST_TEXT, DEEPEST = 1000, 100
# numbers past these have no use here, and would take memory and time without end
LARGEST_NUMBER, LARGEST_EXPONENT, MOST_BITS = 2**63, 64, 512

_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda one, many: one in many,
    ast.NotIn: lambda one, many: one not in many,
}
_KIND_WORDS = {int: "a number", str: "text", tuple: "a list"}


@dataclass(frozen=True, slots=True)
class Where:
    """A condition that was read: its text, and what decides."""

    text: str
    holds: Read

    def keeps(self, case: Case) -> bool:
        """Tell whether the condition holds for a case. Raises UsageError on numbers without end."""
        return bool(self.holds(_row(case)))


def parse_where(
    option: str,
    text: str,
    columns: Mapping[str, type] = COLUMNS,
    unknown: str = "is no column known before measuring",
) -> Where:
    """Read a condition on columns, which are numbers (int) or text (str).

    Raises UsageError, which quotes the place and says what is allowed there; `unknown` is said of a
    name that is no column.

    >>> small = parse_where("--where", "1 < height <= 28 and block in ('gc', 'se')")
    >>> small.holds({"height": 14, "block": "gc"}), small.holds({"height": 14, "block": "nl"})
    (True, False)
    """
    if len(text) > LONGEST_TEXT:
        raise UsageError(f"{option} takes at most {LONGEST_TEXT} characters, not {len(text)}")
    try:
        with warnings.catch_warnings():
            # of odd escapes and literals, which are refused or harmless
            warnings.simplefilter("ignore")
            tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        offset = getattr(error, "offset", None)
        place = f" at character {offset}" if offset else ""
        bare = re.sub(r"'[^']*'?|\"[^\"]*\"?", "", text)  # specs in quotes hold = themselves
        hint = " (equal is ==)" if re.search(r"(?<![<>=!:])=(?!=)", bare) else ""
        raise UsageError(
            f"{option} {quoted(text)} is no condition: not understood{place}{hint}"
        ) from error
    if _depth(tree) > DEEPEST:
        raise UsageError(f"{option} {quoted(text)} is nested too deep")
    return Where(text, _Reader(option, text.strip(), columns, unknown).condition(tree.body))


def _depth(tree: ast.AST) -> int:
    """How deep a tree is, found without going as deep oneself."""
    depth, level = 0, [tree]
    while level:
        depth, level = depth + 1, [child for node in level for child in ast.iter_child_nodes(node)]
    return depth


def _row(case: Case) -> Values:
    return {column: getattr(case, column) for column in COLUMNS}


@dataclass(frozen=True)
class _Reader:
    """Turns the tree of one text into functions; refuses what is not in the grammar."""

    option: str
    text: str
    columns: Mapping[str, type]
    unknown: str

    def condition(self, node: ast.expr) -> Read:
        """What is true or false of a row."""
        match node:
            case ast.BoolOp(op=ast.And(), values=values):
                parts = [self.condition(value) for value in values]
                return lambda row: all(part(row) for part in parts)
            case ast.BoolOp(values=values):
                parts = [self.condition(value) for value in values]
                return lambda row: any(part(row) for part in parts)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                part = self.condition(operand)
                return lambda row: not part(row)
            case ast.Compare():
                return self._comparison(node)
        raise self._refused(node, "is no condition: compare it with something")

    def _comparison(self, node: ast.Compare) -> Read:
        nodes = [node.left, *node.comparators]
        numeric = any(self._is_numeric(side) for side in nodes)
        sides = [
            (_side_of_square, int) if numeric and _is_size(side) else self.value(side)
            for side in nodes
        ]
        steps = []
        for i, comparison in enumerate(node.ops):
            compare = _COMPARISONS.get(type(comparison))
            if compare is None:
                raise self._refused(node, "compares in a way that is not allowed here: take ==")
            self._require_comparable(node, comparison, sides[i][1], sides[i + 1][1])
            steps.append((compare, sides[i][0], sides[i + 1][0]))

        def holds(row: Values) -> bool:
            return all(_compared(compare, left(row), right(row)) for compare, left, right in steps)

        return holds

    def _is_numeric(self, node: ast.expr) -> bool:
        """Whether a size beside this is meant as a number."""
        if isinstance(node, ast.Tuple | ast.List):
            return bool(node.elts) and all(map(self._is_numeric, node.elts))
        return not _is_size(node) and self.value(node)[1] is int

    def _require_comparable(
        self, node: ast.Compare, comparison: ast.cmpop, left: type, right: type
    ) -> None:
        inside = isinstance(comparison, ast.In | ast.NotIn)
        if inside and left is not tuple and (right is tuple or left is right is str):
            return
        if inside or tuple in (left, right) or left is not right:
            why = f"{_KIND_WORDS[left]} with {_KIND_WORDS[right]}"
            how = "looks for" if inside else "compares"
            raise self._refused(node, f"{how} {why}")

    def value(self, node: ast.expr) -> tuple[Read, type]:
        """A number, text or list of a row, and which of these it is."""
        match node:
            case ast.Constant(value=bool()):
                raise self._refused(node, "is no value of a column")
            case ast.Constant(value=int() | float() as number):
                if not abs(number) < LARGEST_NUMBER:
                    raise self._refused(node, "is too large a number")
                return (lambda row: number), int
            case ast.Constant(value=str() as word):
                return (lambda row: word), str
            case ast.Name(id=name):
                if name in _MADE and name not in self.columns:
                    return _MADE[name]
                if name not in self.columns:
                    hint = suggestion(name, (*self.columns, *_MADE))
                    raise self._refused(node, f"{self.unknown}: {hint}; a text stands in quotes")
                return (lambda row: row[name]), self.columns[name]
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                return self._list(elements)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
                read = self._number(operand)
                return (_negated(read) if isinstance(sign, ast.USub) else read), int
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                return self._arithmetic(_ARITHMETIC[type(op)], left, right, node), int
        raise self._refused(node, "is not allowed here: take columns, numbers and 'text'")

    def _list(self, elements: list[ast.expr]) -> tuple[Read, type]:
        reads = [self.value(element)[0] for element in elements]
        return (lambda row: [read(row) for read in reads]), tuple

    def _number(self, node: ast.expr) -> Read:
        read, kind = (_side_of_square, int) if _is_size(node) else self.value(node)
        if kind is not int:
            raise self._refused(node, f"is {_KIND_WORDS[kind]}, which one cannot calculate with")
        return read

    def _arithmetic(
        self, calculate: Callable[[Any, Any], Any], left: ast.expr, right: ast.expr, node: ast.expr
    ) -> Read:
        first, second = self._number(left), self._number(right)

        def calculated(row: Values) -> Any:
            a, b = first(row), second(row)
            if a is None or b is None:
                return None
            if calculate is operator.pow and not _bounded(a, b):
                raise self._refused(node, "is too large a power")
            try:
                return calculate(a, b)
            except ZeroDivisionError:
                return None
            except OverflowError as error:
                raise self._refused(node, "is too large a number") from error

        return calculated

    def _refused(self, node: ast.expr, why: str) -> UsageError:
        place = ast.get_source_segment(self.text, node) or self.text
        return UsageError(f"{self.option}: {quoted(place)} {why}")


def _is_size(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "size"


def _compared(compare: Callable[[Any, Any], bool], left: Any, right: Any) -> bool:
    return left is not None and right is not None and compare(left, right)


def _negated(read: Read) -> Read:
    def negated(row: Values) -> Any:
        number = read(row)
        return None if number is None else -number

    return negated


def _bounded(base: Any, exponent: Any) -> bool:
    """Tell whether a power is a real number that may be calculated."""
    if not abs(exponent) <= LARGEST_EXPONENT or (base < 0 and exponent != int(exponent)):
        return False
    return not isinstance(base, int) or base.bit_length() * abs(exponent) <= MOST_BITS
