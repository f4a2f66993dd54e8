"""Links from HTML representations to the documentation."""

from email.message import Message

import pytest

from sklearn_keops_gmm import KeOpsGaussianMixture, KeOpsGaussianMixtureCV
from sklearn_keops_gmm._interop import _documentation


@pytest.fixture
def published(monkeypatch):
    """Let the metadata name addresses."""

    def publish(*addresses):
        message = Message()
        for address in addresses:
            message["Project-URL"] = address
        monkeypatch.setattr(_documentation, "metadata", lambda name: message)
        _documentation.documentation_address.cache_clear()

    yield publish
    _documentation.documentation_address.cache_clear()


@pytest.mark.parametrize("cls", [KeOpsGaussianMixture, KeOpsGaussianMixtureCV])
def test_html_links_to_the_documentation(published, cls):
    published("Source, https://source.test", "Documentation, https://docs.test/stable")
    link = f"https://docs.test/stable/api.html#sklearn_keops_gmm.{cls.__name__}"
    assert f'href="{link}"' in cls()._repr_html_()


def test_the_package_names_an_address():
    """As it is installed: in its metadata."""
    _documentation.documentation_address.cache_clear()
    link = KeOpsGaussianMixture()._get_doc_link()
    assert link.startswith("https://sklearn-keops-gmm.")
    assert link.endswith("/api.html#sklearn_keops_gmm.KeOpsGaussianMixture")


@pytest.mark.parametrize("addresses", [(), ("Source, https://source.test",)])
def test_no_link_without_an_address(published, addresses):
    """Least of all one to scikit-learn's documentation of another class."""
    published(*addresses)
    html = KeOpsGaussianMixture()._repr_html_()
    assert "api.html" not in html
    assert KeOpsGaussianMixture()._get_doc_link() == ""
