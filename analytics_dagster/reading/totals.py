"""The total that answers state, and whether what came adds up to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from operator import itemgetter
from typing import Any, cast

from dlt.common import jsonpath
from dlt.sources.helpers.rest_client import paginators as dlt_paginators

from analytics_dagster.reading.errors import PageError, UnstableError
from analytics_dagster.reading.origins import without_query
from analytics_dagster.reading.selection import Page, RowSelection
from analytics_dagster.spec.page_ends import IN_HEADER

_TOTALS = (
    *("total", "total_count", "totalCount", "total_results", "totalResults", "total_items", "totalItems"),
    *("total_rows", "totalRows", "total_records", "totalRecords", "totalElements", "@odata.count"),
    *("total_entries", "totalEntries"),
)
_COUNT = "count"  # of all rows, or of those of the page, or of something else
_MORE = ("has_more", "hasMore", "has_next", "hasNext", "has_next_page", "hasNextPage")
_CONTINUE = "continue"  # where MediaWiki and Kubernetes say how to go on; left out or empty at the end
_ENVELOPES = ("meta", "_meta", "metadata", "pagination", "paging", "page", "page_info", "pageInfo", "info")
_HEADERS = ("X-Total-Count", "X-Total", "X-WP-Total")
_TOKENS = (dlt_paginators.JSONResponseCursorPaginator, dlt_paginators.HeaderCursorPaginator)


class StatedTotal:
    """A number that answers state, over all pages of one reading.

    Args:
        path: Where it is (JSONPath, or `header:NAME`); None for the usual places.
        wanted: Whether to look for one at all.
        counts_set: Whether the file says that it counts the whole set.
    """

    def __init__(self, path: str | None, *, wanted: bool = True, counts_set: bool = False) -> None:
        self.wanted = wanted
        self.path = path
        self.counts_set = counts_set
        self._header = path.removeprefix(IN_HEADER) if path and path.startswith(IN_HEADER) else None
        self._find = jsonpath.compile_path(path) if path and not self._header else None
        self.begin()

    def begin(self) -> None:
        """Forget what was seen."""
        self.value: int | None = None
        self.before: int | None = None  # the number that this one replaced, if it changed
        self.place = (self.path or "").removeprefix("$.")
        self.is_of_page = not self.counts_set  # some APIs call the length of the page a total
        self.is_on_page = False  # the last one that was read

    def read(self, page: Page) -> bool:
        """Look at a further page, and say whether its number is another than before."""
        self.is_on_page = False
        for place, value in self._candidates(page) if self.wanted else ():
            number = _whole_number(value)
            if number is None or self.place not in ("", place):
                continue
            self.place = place
            self.is_on_page = True
            self.is_of_page = self.is_of_page and number == len(page.rows)
            has_changed = self.value not in (None, number)
            if has_changed:
                self.before = self.value
            self.value = number
            return has_changed and not self.is_of_page
        return False

    @property
    def may_mean_anything(self) -> bool:
        """Whether its name does not say what it counts."""
        return self.path is None and self.place.rpartition(".")[2] == _COUNT

    def _candidates(self, page: Page) -> Iterator[tuple[str, Any]]:
        if self._header:
            yield self.place, page.answer.headers.get(self._header)
            return
        if self._find:
            yield from ((self.place, match.value) for match in self._find.find(page.answer.json())[:1])
            return
        envelopes = _envelopes(page)
        for name in (*_TOTALS, _COUNT):
            for path, envelope in envelopes.items():
                if name in envelope:
                    yield path + name, envelope[name]
        for name in _HEADERS:
            yield name, page.answer.headers.get(name)


class Tally:
    """What came, held against the totals that the API states, and each page against the one before.

    Args:
        total: The total of rows.
        total_pages: The total of pages.
        selection: Finds rows.
        key: The fields that tell rows apart.
        at_first: Whether only the first answer states it: later ones may count what is left.
    """

    def __init__(
        self,
        total: StatedTotal,
        total_pages: StatedTotal,
        selection: RowSelection,
        key: Sequence[str],
        *,
        at_first: bool = False,
    ) -> None:
        self._total = total
        self._total_pages = total_pages
        self._selection = selection
        self._at_first = at_first
        self._key = itemgetter(*key) if key else None
        self.begin()

    def begin(self, first: int = 0) -> None:
        """Start to read.

        Args:
            first: How many rows are left out in front.
        """
        self._total.begin()
        self._total_pages.begin()
        self._first = first
        self.rows = self.pages = self._filled = self._length = 0
        self.is_steady = True  # all pages are of one length
        self._is_on_each = True
        self._keys: set[Any] = set()
        self._body = (b"", "utf-8")

    @property
    def stated_pages(self) -> int | None:
        """How many pages the API states."""
        return self._total_pages.value

    @property
    def has_every_row(self) -> bool:
        """Whether as many rows came as the file says that the set has."""
        return self._total.counts_set and self.expected == self.rows

    @property
    def expected(self) -> int | None:
        """How many rows there should be in all; None where nothing states it."""
        total = self._total
        if total.value is None or (total.is_of_page and self.pages > 1):
            return None
        expected = max(total.value - self._first, 0)
        return None if total.may_mean_anything and expected < self.rows else expected

    @property
    def pages_ahead(self) -> int:
        """How many pages may be asked for at once where nothing says how many there are."""
        return self.pages - 1 if self.is_steady else 1

    @property
    def would_notice_shifts(self) -> bool:
        """Whether it would be seen that rows come or go between pages, in whatever order those are read.

        A later page that was read before an earlier one could then miss rows of which none came twice.
        """
        by_total = self._is_on_each and self.pages > 1 and self.expected is not None
        return by_total or bool(self._keys)

    def add(self, page: Page, pages: dlt_paginators.BasePaginator) -> None:
        """Count a page.

        Args:
            page: The page.
            pages: How it was found.

        Raises:
            UnstableError: If rows have moved since the page before.
        """
        self.pages += 1
        self._filled += bool(page.rows)
        self.rows += len(page.rows)
        self._length = self._length or len(page.rows)
        self.is_steady = self.is_steady and len(page.rows) == self._length
        if page.around is None or (self._at_first and self.pages > 1):
            return
        has_changed = [self._total_pages] if self._total_pages.read(page) else []
        if self._total.read(page) and self.expected is not None:
            has_changed.append(self._total)
        self._is_on_each = self._is_on_each and self._total.is_on_page
        # A token stays with its row. Offsets and numbers do not, nor links, which often hold one of them.
        if not isinstance(pages, _TOKENS):
            self._refuse_moved(page, pages, has_changed)
        self._body = page.answer.content, page.answer.charset

    def is_whole(self, page: int, limit: int) -> bool:
        """Whether all rows have come, so that no further page need be asked for.

        Args:
            page: The length of this page.
            limit: The length that was asked for.
        """
        if self.expected != self.rows:
            return False
        # A page whose total is its own length may be all there is, or the first of many: where it is full,
        # or, if the file does not name the total, as long as APIs like to cap their pages.
        may_be_capped = self._total.path is None and (page % 5 == 0 or self._total.may_mean_anything)
        return not (page and self._total.is_of_page and (page >= limit or may_be_capped))

    def check(self, page: Page, pages: dlt_paginators.BasePaginator) -> None:
        """Hold what came against what was stated, after each page.

        Args:
            page: The page that was added.
            pages: Knows whether more follow.

        Raises:
            PageError: If it does not add up.
        """
        if page.around is None:
            return
        more, cut = pages.has_next_page, was_cut(pages)
        single = isinstance(pages, dlt_paginators.SinglePagePaginator)
        advice = "; nothing says where the next page is, so write a paginator that finds it" if single else ""
        expected = self.expected
        if not (single or more or isinstance(pages, dlt_paginators.RangePaginator)) and self.pages == 1:
            advice = "; the paginator finds no next page in the answer, so see whether it is the right one"
        if expected is None:
            if not (more or cut) and page.rows and self._total.wanted and (sign := _says_more(page)):
                place, says = sign
                what, meant = (
                    f"in the last answer `{place}` {says}{advice}",
                    f"`{place}` tells of something else",
                )
                raise self._problem(page, what, meant)
        elif self._at_first and self.rows > expected:
            return  # rows may have come meanwhile
        elif self.rows != expected and not (self.rows < expected and (more or cut)):
            left = (self._total.value or 0) - self._filled
            may_be_pages = self._total.place == self._total_pages.place
            if may_be_pages and (left == 0 or (left > 0 and (more or cut))):
                return
            what = f"the API states {expected} rows and sent {self.rows}{advice}"
            raise self._problem(page, what, unstable=self._total.before is not None)

    def _refuse_moved(
        self, page: Page, pages: dlt_paginators.BasePaginator, has_changed: Sequence[StatedTotal]
    ) -> None:
        for total in has_changed:
            if (total.value or 0) < (total.before or 0):
                what = (
                    f"the API stated {total.before} at first and {total.value} later, so rows may be skipped"
                )
                raise self._problem(page, what, _counts_others(total), unstable=True)
        keys: set[Any] = set()
        if self._key and isinstance(pages, dlt_paginators.RangePaginator):
            with suppress(KeyError, TypeError, IndexError):  # rows without these fields, or objects in them
                keys = set(map(self._key, page.made or page.rows))
        if keys == self._keys and len(keys) == len(page.rows) > 1:
            raise PageError(same_pages(page, pages, "hold rows of the same keys"))
        if has_changed or not keys.isdisjoint(self._keys):
            twice = {*map(repr, self._selection.rows_again(*self._body))} & {*map(repr, page.rows)}
            if twice:
                raise UnstableError(
                    f"The pages of {without_query(page.answer.url)} are not whole: {len(twice)} rows came on"
                    " two pages that follow each other, so others may be skipped. If the rows changed"
                    " meanwhile, another run will do; if the API sorts by a field that several rows share,"
                    " ask it to sort by the primary key, too."
                )
        self._keys = keys

    def _problem(
        self, page: Page, what: str, meant: str | None = None, *, unstable: bool = False
    ) -> PageError:
        """The error that says what was expected and seen, and by what else it may be right."""
        meant = meant or _counts_others(self._total)
        return (UnstableError if unstable else PageError)(
            f"The pages of {without_query(page.answer.url)} are not whole: {what}. If the rows changed"
            f" meanwhile, another run will do; if {meant}, write `total_path: null` in the paginator."
        )


def _counts_others(total: StatedTotal) -> str:
    return f"`{total.place}` does not count these rows" if total.place else "that is as it should be"


def same_pages(page: Page, pages: dlt_paginators.BasePaginator | None, what: str = "are the same") -> str:
    """What to say of an API that sends a page twice.

    Args:
        page: The second one.
        pages: The paginator that asked for it.
        what: What two pages do.
    """
    numbers = isinstance(pages, dlt_paginators.PageNumberPaginator) and pages.initial_value == 0
    first = "; if its first page is 1, not 0, write `base_page: 1`" if numbers else ""
    return (
        f"Two pages of {without_query(page.answer.url)} {what}: the API seems not to know the paginator's"
        f" parameters, or leads in a circle. Check the parameters' names{first}; if the API sends all rows at"
        " once, write `paginator: single_page`."
    )


def was_cut(pages: dlt_paginators.BasePaginator) -> bool:
    """Whether the file says that pages end before the API's do."""
    return (
        isinstance(pages, dlt_paginators.RangePaginator)
        and pages.maximum_value is not None
        and pages.current_value >= pages.maximum_value
    )


def _envelopes(page: Page) -> dict[str, dict[str, Any]]:
    """The objects that may speak of the whole set: those around the rows, and some with neutral names."""
    found = dict(page.around or {})
    for name in _ENVELOPES:
        inside = found.get("", {}).get(name)
        if isinstance(inside, dict):
            found.setdefault(f"{name}.", cast("dict[str, Any]", inside))
    return found


def _says_more(page: Page) -> tuple[str, str] | None:
    """Where an answer says that more follow, and how."""
    for path, envelope in _envelopes(page).items():
        for name in _MORE:
            if envelope.get(name) is True:
                return path + name, "is true"
        if isinstance(token := envelope.get(_CONTINUE), dict | str) and token:
            return path + _CONTINUE, "is not empty"
    return None


def _whole_number(value: Any) -> int | None:
    try:
        number = -1 if isinstance(value, bool) else int(value)
        return number if number >= 0 and number == float(value) else None
    except (TypeError, ValueError, OverflowError):
        return None
