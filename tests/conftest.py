LONGEST = "test_end_to_end.py"


def pytest_collection_modifyitems(items):
    """The longest file first: of several processes the others work through the rest beside it."""
    items.sort(key=lambda item: item.path.name != LONGEST)
