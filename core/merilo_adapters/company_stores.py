"""The series store of each company: the installation's own, unless the company's record names another."""

from __future__ import annotations

from pathlib import Path

from merilo.errors import StoreRefusedError
from merilo_adapters.installation import Installation
from merilo_adapters.registry import Registry
from merilo_adapters.stores import Store, open_store


class CompanyStores:
    """Opens each store once and makes a company's database when it is first needed."""

    def __init__(self, place: Installation, registry: Registry) -> None:
        self._place = place
        self._registry = registry
        self._by_url: dict[str, Store] = {}
        self._by_company: dict[str, Store] = {}

    def of(self, company: str) -> Store:
        """The store of this company, set up.

        Raises:
            StoreRefusedError: No such company, or the store refuses to make its database.
            StoreUnavailableError: The store cannot be reached.
        """
        found = self._by_company.get(company)
        if found is None:
            record = next((c for c in self._registry.companies() if c.id == company), None)
            if record is None:
                raise StoreRefusedError(f"company {company!r} is not in the registry")
            found = self._open(record.store_url or self._place.store_url)
            found.init(company, record.raw_days)
            self._by_company[company] = found
        return found

    def bare(self, company: str) -> Store:
        """The store of this company, nothing set up.

        Raises:
            NotFoundError: No such company.
        """
        return self._open(self._registry.company(company).store_url or self._place.store_url)

    def all(self) -> list[Store]:
        """Every store that is open."""
        return list(self._by_url.values())

    def _open(self, url: str) -> Store:
        found = self._by_url.get(url)
        if found is None:
            if url.startswith("sqlite:///"):
                Path(url.removeprefix("sqlite:///")).mkdir(parents=True, exist_ok=True)
            token = self._place.secret_token()
            login = self._place.store_login
            found = open_store(
                url, token=None if login else token or None, username=login or None, password=token or None
            )
            self._by_url[url] = found
        return found
